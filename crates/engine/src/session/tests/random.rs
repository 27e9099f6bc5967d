//! Random conversations with modelled nodes: cut anywhere, answered in pieces of any size, with backends that vanish.
//!
//! The judge is a node asked directly with the same messages. Besides, nothing may be left behind on a backend that is
//! given back, and nothing may run twice that must not. A failure names its seed.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use wire::encode;
use wire::error_response::ErrorFields;
use wire::frame;
use wire::frontend::DescribeKind;

use super::super::*;
use super::node::Node;
use super::rig;
use crate::view::Incarnation;

/// Chance that can be repeated (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// Statements of the scripts; `$` stands for a number that occurs once.
const STATEMENTS: &[&str] = &[
    "select $",
    "select $",
    "select $",
    "select setting",
    "insert into t values $",
    "insert into t values $",
    "select 1/0 $",
    "selec $",
    "",
    "begin",
    "begin",
    "commit",
    "commit",
    "rollback",
    "rollback",
    "commit and chain",
    "set work_mem = '$'",
    "set work_mem = '$'",
    "reset work_mem",
    "deallocate s1",
    "deallocate all",
    "discard all",
];

/// What ties a session to the replica of a read-only block (PROMISES, L9) stands in other scripts than such blocks.
const PINNING: &[&str] = &["prepare p as select 7", "create temp table x a", "deallocate p"];
const READ_ONLY: &[&str] = &["begin read only", "begin read only"];

/// Simple queries of several statements.
const SEVERAL: &[&str] = &[
    "select $;select $",
    "insert into t values $;select 1/0 $;select $",
    "set work_mem = '$';commit;select 1/0 $",
    "begin;set work_mem = '$';insert into t values $",
    "set work_mem = '$';rollback;set work_mem = '$'",
];

/// A block that begins in the message that ends another stays on its node, which must not be a replica (L9).
const AGAIN: &str = "commit;begin;select $";

/// What a client sends.
struct Script {
    bytes: Vec<u8>,
    words: Vec<String>,
    /// Texts of simple queries, which are sent once.
    simple: Vec<String>,
    number: u32,
    extra: &'static [&'static str],
}

impl Script {
    fn new(dice: &mut Dice) -> Self {
        let extra = if dice.one_in(2) { PINNING } else { READ_ONLY };
        let mut script =
            Script { bytes: Vec::new(), words: Vec::new(), simple: Vec::new(), number: 10_000, extra };
        for _ in 0..=dice.below(25) {
            match dice.below(8) {
                0..=2 => script.query(dice),
                3 if dice.one_in(2) => script.copy(),
                4 if dice.one_in(12) && extra == PINNING => script.call(),
                _ => script.batch(dice),
            }
        }
        script
    }

    fn text(&mut self, dice: &mut Dice) -> String {
        let place = dice.below(STATEMENTS.len() + self.extra.len());
        let text = STATEMENTS.get(place).or_else(|| self.extra.get(place - STATEMENTS.len()));
        self.numbered(text.expect("within both"))
    }

    fn numbered(&mut self, text: &str) -> String {
        let mut out = String::new();
        for (i, part) in text.split('$').enumerate() {
            if i > 0 {
                self.number += 1;
                out += &self.number.to_string();
            }
            out += part;
        }
        out
    }

    fn query(&mut self, dice: &mut Dice) {
        let text = match dice.below(20) {
            0 if self.extra == PINNING => self.numbered(AGAIN),
            0..=3 => self.numbered(dice.one_of(SEVERAL)),
            _ => self.text(dice),
        };
        encode::query(&mut self.bytes, &text).expect("fits");
        self.words.push(format!("Query {text:?}"));
        self.simple.extend(text.split(';').map(str::to_owned));
    }

    fn copy(&mut self) {
        encode::query(&mut self.bytes, "copy t from stdin").expect("fits");
        self.bytes.extend([b'd', 0, 0, 0, 7, b'1', b'2', b'\n']);
        encode::copy_done(&mut self.bytes);
        self.words.push("Copy".to_owned());
    }

    fn call(&mut self) {
        self.bytes.extend([b'F', 0, 0, 0, 14, 0, 0, 3, 0xe7, 0, 0, 0, 0, 0, 0]);
        self.words.push("FunctionCall".to_owned());
    }

    fn batch(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.below(4) {
            let name = dice.one_of(&["", "", "s1", "s2"]);
            match dice.below(10) {
                0..=4 => self.whole(dice, name),
                5 => self.parse(dice, name),
                6 => self.bind(name),
                7 => self.bind(if self.extra == PINNING { "p" } else { name }),
                8 => self.close(name),
                _ => {
                    encode::execute(&mut self.bytes, b"", 0).expect("fits");
                    self.words.push("Execute".to_owned());
                }
            }
        }
        if dice.one_in(8) {
            self.flush();
        }
        encode::sync(&mut self.bytes);
        self.words.push("Sync".to_owned());
    }

    fn flush(&mut self) {
        encode::flush(&mut self.bytes);
        self.words.push("Flush".to_owned());
    }

    fn whole(&mut self, dice: &mut Dice, name: &str) {
        if dice.one_in(2) {
            self.close(name);
        }
        self.parse(dice, name);
        if dice.one_in(3) {
            encode::describe(&mut self.bytes, DescribeKind::Statement, name.as_bytes()).expect("fits");
            self.words.push(format!("Describe S {name:?}"));
        }
        self.bind(name);
        encode::describe(&mut self.bytes, DescribeKind::Portal, b"").expect("fits");
        encode::execute(&mut self.bytes, b"", 0).expect("fits");
        self.words.push("Describe P, Execute".to_owned());
    }

    fn parse(&mut self, dice: &mut Dice, name: &str) {
        let text = self.text(dice);
        encode::parse(&mut self.bytes, name.as_bytes(), text.as_bytes(), &[]).expect("fits");
        self.words.push(format!("Parse {name:?} {text:?}"));
    }

    fn bind(&mut self, name: &str) {
        encode::bind_with_statement(&mut self.bytes, b"", name.as_bytes(), &[0; 6]).expect("fits");
        self.words.push(format!("Bind {name:?}"));
    }

    fn close(&mut self, name: &str) {
        encode::close(&mut self.bytes, DescribeKind::Statement, name.as_bytes()).expect("fits");
        self.words.push(format!("Close {name:?}"));
    }
}

/// How a conversation is held.
#[derive(Clone, Copy)]
struct Manner {
    /// Longest piece of the client's bytes, and of the nodes', that is shown at once.
    piece_max: usize,
    /// Backends vanish.
    losses: bool,
}

/// A node's backend, as the pool has it.
struct Connection {
    state: Backend,
    node: Node,
}

/// Made once: it is large.
static BUILTIN: LazyLock<Catalogue> = LazyLock::new(Catalogue::builtin);

/// The session with its shell, its pools and the nodes behind them.
struct World {
    session: Session,
    idle: [Vec<Connection>; 2],
    held: Option<Connection>,
    view: View,
    shared: Shared,
    now: Instant,
    input: Vec<u8>,
    backend_input: Vec<u8>,
    to_client: Vec<u8>,
    /// Texts that have run, on which side.
    ran: Vec<(Side, String)>,
    closed: bool,
    lost: bool,
}

impl World {
    fn new() -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        World {
            session: Session::new(rig::profile(RouteMode::Auto), &[]),
            idle: [Vec::new(), Vec::new()],
            held: None,
            view: rig::view(now),
            shared: Shared::new(1 << 20, (crate::pool::WorkerId(0), 1)),
            now,
            input: Vec::new(),
            backend_input: Vec::new(),
            to_client: Vec::new(),
            ran: Vec::new(),
            closed: false,
            lost: false,
        }
    }

    /// Plays a script to its end.
    fn play(&mut self, script: &[u8], dice: &mut Dice, manner: Manner) {
        let mut sent = 0;
        for _ in 0..1_000_000 {
            self.now = self.now + Duration::from_millis(1);
            if dice.one_in(3) {
                self.view.nodes[1].fresh_as_of = Some(self.now);
            }
            let answers = self.held.as_ref().is_some_and(|c| !c.node.output.is_empty());
            if self.closed || (sent == script.len() && !answers) {
                assert!(self.closed || self.input.is_empty(), "stuck with {} bytes", self.input.len());
                return;
            }
            if manner.losses && dice.one_in(40) {
                self.lose();
            } else if answers && (sent == script.len() || dice.one_in(2)) {
                let output = &mut self.held.as_mut().expect("it has answers").node.output;
                let n = (1 + dice.below(manner.piece_max)).min(output.len());
                let piece: Vec<u8> = output.drain(..n).collect();
                self.on_backend(&piece);
            } else if sent < script.len() {
                let n = (1 + dice.below(manner.piece_max)).min(script.len() - sent);
                self.input.extend_from_slice(&script[sent..sent + n]);
                sent += n;
                self.on_client();
            }
        }
        panic!("no end");
    }

    /// One call of the session; what it makes goes where it belongs.
    fn call<R>(
        &mut self,
        input: &[u8],
        call: impl FnOnce(&mut Session, &mut Context<'_>, Option<&mut Backend>) -> R,
    ) -> R {
        let (mut to_backend, mut to_client) = (Pieces::default(), Pieces::default());
        let mut cx = Context {
            now: self.now,
            view: &self.view,
            catalogue: &BUILTIN,
            default_search_path: Some("\"$user\", public"),
            shared: &mut self.shared,
            to_backend: &mut to_backend,
            to_client: &mut to_client,
        };
        let backend = self.held.as_mut().map(|c| &mut c.state);
        let result = call(&mut self.session, &mut cx, backend);
        for &piece in to_client.list() {
            self.to_client.extend_from_slice(to_client.bytes(piece, input));
        }
        assert!(to_backend.is_empty() || self.held.is_some(), "bytes for a backend that nobody has");
        for &piece in to_backend.list() {
            let held = self.held.as_mut().expect("just seen");
            held.node.take(to_backend.bytes(piece, input));
            let side = held.state.side;
            self.ran.extend(held.node.ran.drain(..).map(|text| (side, text)));
        }
        result
    }

    fn on_client(&mut self) {
        while !self.closed && self.session.waiting_since().is_none() {
            let input = std::mem::take(&mut self.input);
            let step = self.call(&input, |session, cx, backend| session.on_client(&input, cx, backend));
            self.input = input[step.consumed..].to_vec();
            if matches!(step.want, Want::Input | Want::Answers) {
                return;
            }
            self.obey(step.want);
        }
    }

    fn on_backend(&mut self, piece: &[u8]) {
        self.backend_input.extend_from_slice(piece);
        let input = std::mem::take(&mut self.backend_input);
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let step = self
                .call(rest, |session, cx, backend| session.on_backend(rest, cx, backend.expect("it speaks")));
            at += step.consumed;
            match step.want {
                Want::Input => break self.backend_input.extend_from_slice(&input[at..]),
                Want::Answers => self.on_client(),
                other => {
                    if !matches!(other, Want::Rerun { in_step: false } | Want::Close) {
                        assert_eq!(at, input.len(), "a backend goes that has more to say");
                    }
                    self.obey(other);
                    return self.on_client();
                }
            }
            if self.closed || at == input.len() {
                break;
            }
        }
    }

    fn lose(&mut self) {
        if self.held.is_none() {
            return self.idle.iter_mut().for_each(Vec::clear);
        }
        self.lost = true;
        self.backend_input.clear();
        let want =
            self.call(&[], |session, cx, backend| session.on_backend_lost(cx, backend.expect("it was held")));
        self.held = None;
        if want != Want::GiveBack {
            self.obey(want);
        }
        self.on_client();
    }

    fn obey(&mut self, want: Want) {
        match want {
            Want::Input | Want::Answers => {}
            Want::Hold => panic!("there is always a primary"),
            Want::CheckOut(node) => {
                let place = node.index();
                let side = if place == 0 { Side::Primary } else { Side::Replica };
                self.held = Some(self.idle[place].pop().unwrap_or_else(|| Connection {
                    state: Backend::new(node, side, Incarnation(u64::from(node.0))),
                    node: Node::new(side == Side::Primary),
                }));
                self.call(&[], |session, cx, backend| {
                    session.on_checked_out(backend.expect("just taken"), cx);
                });
            }
            Want::GiveBack => {
                assert!(self.session.pin().is_none(), "a pinned session gives its backend back");
                self.give_back();
            }
            Want::Rerun { in_step } => {
                if in_step {
                    self.give_back();
                } else {
                    self.held = None;
                }
                self.backend_input.clear();
                let mut again = self.session.take_rerun();
                again.append(&mut self.input);
                self.input = again;
            }
            Want::Close => {
                assert!(self.lost, "the session ends, and no backend was lost");
                self.closed = true;
            }
        }
    }

    /// The backend goes to its pool, unless it must not be lent again: then nothing may be left on it.
    fn give_back(&mut self) {
        let Some(connection) = self.held.take() else { panic!("nothing is held") };
        assert!(self.backend_input.is_empty() && connection.node.output.is_empty(), "it owes answers");
        if connection.state.spent {
            return;
        }
        let believed = connection.state.applied.text("work_mem").and_then(|text| text.split('\'').nth(1));
        if let Some(leftovers) = connection.node.leftovers(believed) {
            panic!("on a backend that was given back: {leftovers}");
        }
        self.idle[connection.state.node.index()].push(connection);
    }
}

/// The messages in these bytes, an error by its code alone. Behind the last whole one there may be part of another, where
/// the connection has ended.
fn messages(bytes: &[u8]) -> Vec<String> {
    let mut at = 0;
    let mut list = Vec::new();
    while let Some(header) = frame::header(&bytes[at..]).expect("well-formed") {
        if bytes.len() < at + header.total {
            break;
        }
        let message = &bytes[at..at + header.total];
        list.push(if header.tag == b'E' {
            let code = ErrorFields::parse(message).expect("an error").sqlstate().map(|s| s.to_string());
            format!("E {}", code.unwrap_or_default())
        } else {
            format!("{} {}", char::from(header.tag), String::from_utf8_lossy(&message[5..]))
        });
        at += header.total;
    }
    list
}

fn counts<'a>(texts: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(text).or_insert(0) += 1;
    }
    counts
}

/// Holds one conversation and judges it; gives what the client got.
fn converse(seed: u64, manner: Manner) -> Vec<u8> {
    let mut dice = Dice(seed);
    let script = Script::new(&mut dice);
    let mut direct = Node::new(true);
    direct.take(&script.bytes);
    let mut world = World::new();
    let told = format!("seed {seed}:\n  {}", script.words.join("\n  "));
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.play(&script.bytes, &mut dice, manner);
    }));
    assert!(played.is_ok(), "{told}");
    let (wanted, got) = (messages(&direct.output), messages(&world.to_client));
    let ends = |list: &[String]| list.iter().filter(|m| m.starts_with('Z')).count();
    if world.lost {
        assert!(
            world.closed || ends(&wanted) == ends(&got),
            "one ReadyForQuery for each request\n{got:#?}\n{told}"
        );
    } else {
        let same = wanted.iter().zip(&got).take_while(|(w, g)| w == g).count();
        let [wanted_there, got_there] =
            [&wanted, &got].map(|list| &list[same.saturating_sub(9)..list.len().min(same + 1)]);
        assert!(wanted == got, "message {same}: wanted {wanted_there:?}\ngot {got_there:?}\n{told}");
    }
    let rows = counts(got.iter().filter(|m| m.starts_with('D')).map(String::as_str));
    let direct_runs = counts(direct.ran.iter().map(String::as_str));
    for side in [Side::Primary, Side::Replica] {
        let runs = world.ran.iter().filter(|(on, _)| *on == side).map(|(_, text)| text.as_str());
        for (text, times) in counts(runs).into_iter().filter(|(text, _)| text.starts_with("insert")) {
            // A loss changes what becomes of the statements behind it, but nothing runs more often than it was sent.
            let once = script.simple.iter().any(|simple| simple == text);
            let most = if world.lost { if once { 1 } else { continue } } else { direct_runs[text] };
            assert!(times <= most, "{text} ran {times} times on the {side:?}\n{told}");
        }
    }
    assert!(world.lost || rows == counts(wanted.iter().filter(|m| m.starts_with('D')).map(String::as_str)));
    world.to_client
}

#[test]
fn a_conversation_is_answered_as_by_one_node_and_the_same_however_it_is_cut() {
    for seed in 0..1000 {
        let whole = converse(seed, Manner { piece_max: 1 << 20, losses: false });
        let cut = converse(seed, Manner { piece_max: 1 + (seed as usize % 40), losses: false });
        assert!(messages(&whole) == messages(&cut), "seed {seed} depends on how its bytes are cut");
    }
}

#[test]
fn a_lost_backend_never_costs_an_answer_or_runs_a_write_twice() {
    for seed in 0..2000 {
        let piece_max = if seed % 2 == 0 { 1 << 20 } else { 1 + (seed as usize % 60) };
        converse(seed, Manner { piece_max, losses: true });
    }
}
