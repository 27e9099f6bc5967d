# Active Record through the router, with one connection string and with two.

ENV["RAILS_ENV"] ||= "development"
require "active_record"
require "active_record/migration"

def same(what, got, wanted)
  abort "#{what}: got #{got.inspect}, wanted #{wanted.inspect}" unless got == wanted
end

def step(name)
  puts "ok #{name}"
end

def wait_until(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 30
  until yield
    same("#{what} within 30 s", Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline, true)
    sleep 0.02
  end
end

# ANCHOR: one
class ApplicationRecord < ActiveRecord::Base
  self.abstract_class = true
end

class Note < ApplicationRecord
  self.table_name = "rails_notes"
end
# ANCHOR_END: one

# ANCHOR: migration
class CreateNotes < ActiveRecord::Migration[6.1]
  def change
    create_table :rails_notes do |table|
      table.text :title, null: false, index: { unique: true }
      table.integer :stars, null: false, default: 0
      table.timestamps
    end
  end
end
# ANCHOR_END: migration

class AddBody < ActiveRecord::Migration[6.1]
  disable_ddl_transaction!

  def change
    add_column :rails_notes, :body, :text
    add_index :rails_notes, :body, algorithm: :concurrently
  end
end

# ANCHOR: route
def last_route(record = ActiveRecord::Base)
  record.connection.select_one("SHOW highwater.last_route")
end
# ANCHOR_END: route

# As `rails db:migrate` does: under an advisory lock of the session.
def migrate
  migrations = { 1 => CreateNotes, 2 => AddBody }.map { |version, made| made.new(made.name, version) }
  connection = ActiveRecord::Base.connection
  connection.execute("DROP TABLE IF EXISTS rails_notes, schema_migrations, ar_internal_metadata")
  ActiveRecord::SchemaMigration.create_table
  ActiveRecord::Migrator.new(:up, migrations, ActiveRecord::SchemaMigration).migrate
  ActiveRecord::Migrator.new(:down, migrations, ActiveRecord::SchemaMigration, 1).migrate
  ActiveRecord::Migrator.new(:up, migrations, ActiveRecord::SchemaMigration).migrate
  step "migrations, there and back"
end

def crud
  50.times do |number|
    # ANCHOR: own
    note = Note.create!(title: "note #{number}")
    raise "lost" unless Note.find(note.id).title == note.title # its own write is there
    # ANCHOR_END: own
  end
  same("update_all", Note.where("title LIKE ?", "%7").update_all(stars: 5), 5)
  same("the update is seen", Note.where(stars: 5).count, 5)
  same("find_or_create_by", Note.find_or_create_by!(title: "note 7").stars, 5)
  Note.insert_all((0...500).map { |n| { title: "bulk #{n}", created_at: Time.now, updated_at: Time.now } })
  same("find_each", Note.where("title LIKE 'bulk%'").find_each(batch_size: 100).count, 500)
  same("delete_all", Note.where("title LIKE 'bulk%'").delete_all, 500)
  step "crud"
end

def transactions
  Note.transaction do
    note = Note.lock.find_by!(title: "note 1")
    note.update!(stars: note.stars + 1)
  end
  Note.transaction do
    Note.create!(title: "rolled back")
    begin
      Note.transaction(requires_new: true) { Note.create!(title: "note 2") }
    rescue ActiveRecord::RecordNotUnique
      nil
    end
    same("its own write in the block", Note.exists?(title: "rolled back"), true)
    raise ActiveRecord::Rollback
  end
  same("rolled back", Note.exists?(title: "rolled back"), false)
  same("committed", Note.find_by!(title: "note 1").stars, 1)
  step "transactions"
end

def on_replicas
  wait_until("a read on a replica") { Note.where(stars: 1).count && last_route["role"] == "replica" }
  same("where 20 reads ran", (1..20).map { Note.where(stars: 1).count && last_route["role"] }.uniq, ["replica"])
  step "reads on replicas"
end

def two
  # ANCHOR: two
  ActiveRecord::Base.configurations = {
    "development" => {
      "primary" => { "url" => ENV.fetch("DATABASE_RW_URL"), "prepared_statements" => true },
      "replica" => { "url" => ENV.fetch("DATABASE_RO_URL"), "replica" => true },
    },
  }
  ApplicationRecord.connects_to database: { writing: :primary, reading: :replica }
  # ANCHOR_END: two
  note = Note.create!(title: "by two")
  same("after a write", last_route(ApplicationRecord)["role"], "primary")
  # ANCHOR: reading
  reading = ->(&block) { ActiveRecord::Base.connected_to(role: :reading, &block) }
  # ANCHOR_END: reading
  wait_until("the write on the read-only side") { reading.call { Note.exists?(note.id) } }
  wait_until("a read on a replica") { reading.call { Note.count && last_route(ApplicationRecord)["role"] == "replica" } }
  begin
    reading.call { Note.connection.raw_connection.exec("DELETE FROM rails_notes") }
    same("a write on app_ro", "succeeds", "fails")
  rescue PG::ReadOnlySqlTransaction
    step "two connection strings; the read-only one refuses writes"
  end
end

ActiveRecord::Base.establish_connection(ENV.fetch("DATABASE_URL"))
ActiveRecord::Migration.verbose = false
migrate
crud
transactions
on_replicas
two
puts "done"
