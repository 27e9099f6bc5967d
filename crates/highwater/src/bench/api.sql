-- A read-heavy API: places that belong to owners and lie somewhere on a map.
-- The tables are those of `highwater bench --init`, in the schema highwater_bench.
-- set id random 1 @places@
-- set owner random 1 @owners@
-- set lat real -60 60
-- set lon real -180 179
-- set title text 24
-- set likes random 1 5

-- name point
-- weight @read 45@
-- expect id
SELECT id, title, likes, updated_at FROM highwater_bench.places WHERE id = :id;

-- name owner
-- weight @read 15@
-- expect owner
SELECT id, name, country, place_count FROM highwater_bench.owners WHERE id = :owner;

-- name newest
-- weight @read 15@
SELECT id, title, likes, created_at FROM highwater_bench.places
WHERE owner_id = :owner ORDER BY id DESC LIMIT 20;

-- name liked
-- weight @read 10@
SELECT p.id, p.title, p.likes, o.name, o.country
FROM highwater_bench.places p JOIN highwater_bench.owners o ON o.id = p.owner_id
WHERE p.owner_id = :owner ORDER BY p.likes DESC, p.id LIMIT 10;

-- name nearby
-- weight @read 15@
SELECT id, title, lat, lon FROM highwater_bench.places
WHERE lat BETWEEN :lat AND :lat + 0.25 AND lon BETWEEN :lon AND :lon + 1 ORDER BY likes DESC, id LIMIT 20;

-- name like
-- weight @write 40@
UPDATE highwater_bench.places SET likes = likes + :likes, updated_at = now() WHERE id = :id;

-- name add
-- weight @write 40@
INSERT INTO highwater_bench.places (owner_id, title, lat, lon) VALUES (:owner, :title, :lat, :lon);

-- name add_counted
-- weight @write 20@
BEGIN;
INSERT INTO highwater_bench.places (owner_id, title, lat, lon) VALUES (:owner, :title, :lat, :lon);
UPDATE highwater_bench.owners SET place_count = place_count + 1 WHERE id = :owner;
COMMIT;
