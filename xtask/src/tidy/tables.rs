// Flat table
//! What the fences are: floors, module order, walls and bans. The rules only read these tables.
//!
//! Widening a table is a decision about the architecture: say why in the commit, and in ARCHITECTURE.md when its picture changes.

/// A crate, and the crates of this workspace it may use.
pub(crate) struct Floor {
    pub(crate) name: &'static str,
    /// 0 to 3; crates beside the house stand on the floor whose outside crates they may use.
    pub(crate) floor: u8,
    pub(crate) may_use: &'static [&'static str],
}

pub(crate) const FLOORS: &[Floor] = &[
    Floor { name: "wire", floor: 0, may_use: &[] },
    Floor { name: "sql", floor: 0, may_use: &[] },
    Floor { name: "engine", floor: 1, may_use: &["wire", "sql"] },
    Floor { name: "advisor", floor: 1, may_use: &["wire", "sql"] },
    Floor { name: "client", floor: 2, may_use: &["wire"] },
    Floor { name: "daemon", floor: 2, may_use: &["wire", "sql", "engine", "advisor"] },
    Floor {
        name: "highwater",
        floor: 3,
        may_use: &["wire", "sql", "engine", "advisor", "client", "daemon", "load"],
    },
    Floor { name: "load", floor: 2, may_use: &["wire"] },
    Floor { name: "bench", floor: 3, may_use: &["wire", "load"] },
    Floor { name: "steps", floor: 3, may_use: &["wire", "sql", "engine"] },
    Floor { name: "sim", floor: 1, may_use: &["wire", "sql", "engine"] },
    Floor { name: "xtask", floor: 3, may_use: &[] },
];

/// An outside crate that is not welcome everywhere: the lowest floor it may stand on, and why.
pub(crate) struct OutsideCrate {
    /// The crate's name, or the beginning of a family's (`tokio` also means `tokio-postgres`).
    pub(crate) name: &'static str,
    pub(crate) lowest_floor: u8,
    pub(crate) why: &'static str,
}

const IO: &str = "sockets, timers and tasks belong to the shell";
const FORMATS: &str = "file and wire formats of ours are made at the rim, engine types are not serialisable";
const CHANCE: &str = "chance is handed in, so that a seed repeats a run";

pub(crate) const OUTSIDE_CRATES: &[OutsideCrate] = &[
    OutsideCrate { name: "tokio", lowest_floor: 2, why: IO },
    OutsideCrate { name: "mio", lowest_floor: 2, why: IO },
    OutsideCrate { name: "socket2", lowest_floor: 2, why: IO },
    OutsideCrate { name: "axum", lowest_floor: 2, why: IO },
    OutsideCrate { name: "hyper", lowest_floor: 2, why: IO },
    OutsideCrate { name: "tower", lowest_floor: 2, why: IO },
    OutsideCrate { name: "rustls", lowest_floor: 2, why: IO },
    OutsideCrate { name: "arc-swap", lowest_floor: 2, why: "sharing between threads belongs to the shell" },
    OutsideCrate {
        name: "tracing",
        lowest_floor: 2,
        why: "logic emits events, the shell turns them into lines and numbers",
    },
    OutsideCrate { name: "serde", lowest_floor: 2, why: FORMATS },
    OutsideCrate { name: "toml", lowest_floor: 2, why: FORMATS },
    OutsideCrate { name: "getrandom", lowest_floor: 2, why: CHANCE },
    OutsideCrate { name: "rand", lowest_floor: 2, why: CHANCE },
    OutsideCrate { name: "clap", lowest_floor: 3, why: "only the command has arguments" },
    OutsideCrate { name: "anyhow", lowest_floor: 3, why: "below the command, errors are few and typed" },
];

/// Modules of `engine` from the lowest up; modules of one line do not know each other.
///
/// `view` stands low because it is a plain value that names what all above it speak of (nodes, roles, incarnations);
/// `cluster`, which makes one, uses it and not the other way round.
pub(crate) const ENGINE_ORDER: &[&[&str]] = &[
    &["time", "error"],
    &["view"],
    &["freshness", "pool"],
    &["cluster"],
    &["route"],
    &["session"],
    &["event"],
];

/// Lines of a file that are not tests.
pub(crate) const FILE_LINES_MAX: usize = 600;
/// Lines of a function that hold code, from its signature to its closing brace.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;
/// Named fields of a struct.
pub(crate) const STRUCT_FIELDS_MAX: usize = 12;

/// Which code a ban is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Product,
    Tests,
    Both,
}

/// Words that may stand in the code of some places only.
pub(crate) struct Ban {
    pub(crate) words: &'static [&'static str],
    /// Beginnings of paths where it holds; empty means everywhere.
    pub(crate) within: &'static [&'static str],
    /// The exceptions: beginning of a path, and the reason.
    pub(crate) except: &'static [(&'static str, &'static str)],
    pub(crate) about: About,
    pub(crate) why: &'static str,
    pub(crate) instead: &'static str,
}

/// Crates that are told everything: no I/O, clock, task, lock or process-wide state.
const PURE: &[&str] =
    &["crates/wire/src/", "crates/sql/src/", "crates/engine/src/", "crates/advisor/src/", "crates/sim/src/"];

const END_TO_END: (&str, &str) = ("crates/highwater/tests/", "end-to-end tests watch real processes");
const SIM_COMMAND: (&str, &str) =
    ("crates/sim/src/main.rs", "runs seeds and says on the terminal what they did");
const XTASK: (&str, &str) = ("xtask/", "a tool that runs commands and reports on the terminal");
const SPAWNER: (&str, &str) = ("crates/daemon/src/spawn.rs", "the one place that starts tasks and threads");
const MEASUREMENT: (&str, &str) = ("crates/sql/examples/", "a measurement, not the product");
const DRIVER: (&str, &str) =
    ("crates/highwater/src/connection.rs", "the task that drives a connection ends with its client");
const BENCH: (&str, &str) =
    ("bench/src/", "waits for processes it started, and measures how long nothing costs");
const BENCH_TERMINAL: (&str, &str) =
    ("bench/src/terminal.rs", "the one place of the bench that prints and asks the environment");
const STEPS_COMMAND: (&str, &str) = ("bench/steps/src/count.rs", "says on the terminal what was counted");
const LOAD_CLOCK: (&str, &str) =
    ("crates/load/src/clock.rs", "the generator measures time; the bench asks it too");
const WORLD: (&str, &str) = ("crates/daemon/src/run.rs", "builds the world: its threads begin here");

pub(crate) const BANS: &[Ban] = &[
    Ban {
        words: &["Instant::now", "SystemTime::now"],
        within: &[],
        except: &[
            ("crates/daemon/src/clock.rs", "the one place that reads the clock"),
            LOAD_CLOCK,
            MEASUREMENT,
            END_TO_END,
            XTASK,
        ],
        about: About::Both,
        why: "decisions are told the time, so that tests and seeds can tell it too",
        instead: "take `now` as an argument; in the shell ask daemon::clock",
    },
    Ban {
        words: &[
            "thread::spawn",
            "thread::Builder",
            "tokio::spawn",
            "task::spawn",
            "spawn_local",
            "spawn_blocking",
        ],
        within: &[],
        except: &[WORLD, SPAWNER, DRIVER, END_TO_END, XTASK],
        about: About::Product,
        why: "a task that nobody owns outlives the shutdown and hides its panic",
        instead: "ask daemon/src/spawn.rs or daemon/src/run.rs for it",
    },
    Ban {
        words: &["thread::sleep"],
        within: &[],
        except: &[
            ("crates/highwater/src/", "`up` and `replica` wait for processes they started"),
            (
                "crates/daemon/src/config/secret.rs",
                "waits for the command that prints a secret, with a limit",
            ),
            BENCH,
            END_TO_END,
        ],
        about: About::Both,
        why: "a sleeping thread serves nobody, and a sleeping test is wrong on a bad day",
        instead: "advance the time you hand in; end to end, wait for a condition with a deadline",
    },
    Ban {
        words: &["time::sleep"],
        within: &[],
        except: &[END_TO_END],
        about: About::Tests,
        why: "a sleeping test is slow on a good day and wrong on a bad one",
        instead: "advance the time you hand in, or pause tokio's clock and advance it",
    },
    Ban {
        words: &["mpsc::channel()", "unbounded_channel", "mpsc::unbounded", "channel::unbounded"],
        within: &[],
        except: &[END_TO_END],
        about: About::Product,
        why: "every queue has a bound",
        instead: "a bounded channel (`sync_channel(n)`, tokio's `channel(n)`) whose bound is a named constant",
    },
    Ban {
        words: &["env::var", "env::vars", "env::var_os", "env::vars_os"],
        within: &[],
        except: &[
            ("crates/daemon/src/config/", "settings are read here and nowhere else"),
            ("crates/highwater/", "the command line is the rim"),
            BENCH_TERMINAL,
            XTASK,
        ],
        about: About::Product,
        why: "a setting read in the middle cannot be checked, documented or reloaded",
        instead: "make it a setting (daemon/src/config) and pass it down",
    },
    Ban {
        words: &[".unwrap()", ".unwrap_err()"],
        within: &[],
        except: &[],
        about: About::Product,
        why: "a broken invariant should say which one it was",
        instead: "`expect(\"why it cannot fail\")`, or handle what may fail",
    },
    Ban {
        words: &["println!", "print!", "eprintln!", "eprint!"],
        within: &[],
        except: &[
            ("crates/highwater/", "the command talks to the terminal"),
            SIM_COMMAND,
            BENCH_TERMINAL,
            STEPS_COMMAND,
            XTASK,
        ],
        about: About::Product,
        why: "a library that prints cannot be used quietly",
        instead: "emit an event; daemon/src/log.rs makes the line",
    },
    Ban {
        words: &["process::exit", "process::abort"],
        within: &[],
        except: &[("crates/highwater/src/", "only the command ends the process"), XTASK],
        about: About::Both,
        why: "nothing that comes from a socket may end the process",
        instead: "return an error; the session ends, the process stays",
    },
    Ban {
        words: &["dbg!", "todo!", "unimplemented!"],
        within: &[],
        except: &[],
        about: About::Both,
        why: "unfinished code is not landed",
        instead: "finish it or leave it out",
    },
    Ban {
        words: &["std::fs", "std::net", "std::io", "std::process", "std::thread", "std::env"],
        within: PURE,
        except: &[SIM_COMMAND],
        about: About::Product,
        why: "this crate does no I/O",
        instead: "take bytes or values as arguments; the shell (daemon) reads and writes",
    },
    Ban {
        words: &[
            "Mutex",
            "RwLock",
            "Condvar",
            "thread_local!",
            "static mut",
            "AtomicBool",
            "AtomicU32",
            "AtomicU64",
            "AtomicUsize",
        ],
        within: PURE,
        except: &[],
        about: About::Product,
        why: "machines are `&mut self`; sharing and process-wide state are the shell's business",
        instead: "own the value, or let the caller hand it in",
    },
];

/// Beginnings of comment words that mark unfinished work.
pub(crate) const UNFINISHED_MARKS: &[&str] = &["TODO", "FIXME", "XXX"];
