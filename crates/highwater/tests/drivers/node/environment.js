// What both Node programs share: where to connect, and how to say how far they have come.

const { DRIVER_PORT, DRIVER_DATABASE, DRIVER_USER, DRIVER_PASSWORD } = process.env;

export const where = {
    host: "127.0.0.1",
    port: Number(DRIVER_PORT),
    database: DRIVER_DATABASE,
    user: DRIVER_USER,
    password: DRIVER_PASSWORD,
};

export function step(name) {
    console.log(`ok ${name}`);
}
