//! A session with a scripted shell around it: one primary, one replica, backends always at hand.

use std::time::Duration;

use sql::Catalogue;
use wire::lsn::Timeline;

use super::super::*;
use super::language;
use crate::route::RouteMode;
use crate::view::{Epoch, Health, Incarnation, NodeView, Role};

const PRIMARY: NodeId = NodeId(0);
const REPLICA: NodeId = NodeId(1);

/// The session, its shell, and the world as one transcript sees it.
pub(super) struct Rig {
    session: Session,
    backends: [Backend; 2],
    held: Option<usize>,
    view: View,
    catalogue: Catalogue,
    shared: Shared,
    now: Instant,
    input: Vec<u8>,
    backend_input: Vec<u8>,
    cut_every: Option<usize>,
    closed: bool,
    /// The backend that speaks was closed: the rest of its line is not heard.
    discarded: bool,
    /// What is left of a message that was sent in part.
    rest: Vec<u8>,
    /// All bytes to the backends, and to the client, in order.
    pub(super) sent: (Vec<u8>, Vec<u8>),
}

fn node(id: NodeId, name: &str, role: Role, now: Instant) -> NodeView {
    NodeView {
        id,
        name: name.into(),
        role,
        health: Health::Up,
        incarnation: Some(Incarnation(u64::from(id.0))),
        timeline: Some(Timeline(1)),
        position: None,
        lag_bytes: Some(0),
        fresh_as_of: Some(now),
        drained: false,
        spared: false,
    }
}

/// The bytes of a line. One that ends in `(first <n> bytes)` stops there, and `(the rest)` begins with what it left.
fn cut_short(text: &str, rest: &mut Vec<u8>, encode: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut bytes = std::mem::take(rest);
    let text = text.strip_prefix("(the rest)").map_or(text, |behind| behind.trim_start_matches("; "));
    let (messages, first) = match text.strip_suffix(" bytes)").and_then(|t| t.rsplit_once(" (first ")) {
        Some((messages, first)) => (messages, Some(first.parse().expect("a number of bytes"))),
        None => (text, None),
    };
    if !messages.is_empty() {
        bytes.extend(encode(messages));
    }
    *rest = bytes.split_off(first.unwrap_or(bytes.len()));
    bytes
}

/// A client of the database.
pub(super) fn profile(mode: RouteMode) -> Profile {
    Profile {
        mode,
        pool_mode: PoolMode::Transaction,
        level: Level::Session,
        max_staleness: Duration::from_secs(10),
        message_bytes_max: 1 << 20,
        wait_max: Duration::from_secs(10),
        database_key: 1,
        user: "app".into(),
    }
}

/// A primary, and a replica that is fresh as of now.
pub(super) fn view(now: Instant) -> View {
    let nodes =
        vec![node(PRIMARY, "primary", Role::Primary, now), node(REPLICA, "replica", Role::Replica, now)];
    View { version: 1, epoch: Epoch(1), primary: Some(PRIMARY), nodes }
}

impl Rig {
    /// A rig for a transcript, whose first line may say `# mode read-only` or `# mode primary`.
    pub(super) fn new(text: &str, cut_every: Option<usize>) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let mode = match text.lines().next() {
            Some("# mode read-only") => RouteMode::ReadOnly,
            Some("# mode primary") => RouteMode::Primary,
            _ => RouteMode::Auto,
        };
        let startup =
            text.lines().filter_map(|l| l.strip_prefix("# startup ")).filter_map(|l| l.split_once('='));
        let startup: Vec<(String, String)> = startup.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        Rig {
            session: Session::new(profile(mode), &startup),
            backends: [
                Backend::new(PRIMARY, Side::Primary, Incarnation(0)),
                Backend::new(REPLICA, Side::Replica, Incarnation(1)),
            ],
            held: None,
            view: view(now),
            catalogue: Catalogue::builtin(),
            shared: Shared::new(1 << 20, (WorkerId(0), 1)),
            now,
            input: Vec::new(),
            backend_input: Vec::new(),
            cut_every,
            closed: false,
            discarded: false,
            rest: Vec::new(),
            sent: (Vec::new(), Vec::new()),
        }
    }

    /// Plays one line and tells what came of it.
    pub(super) fn line(&mut self, line: &str) -> Vec<String> {
        let mut made = Vec::new();
        self.now = self.now + Duration::from_millis(1);
        if let Some(text) = line.strip_prefix("C: ") {
            let bytes = cut_short(text, &mut self.rest, language::client);
            for piece in bytes.chunks(self.cut_every.unwrap_or(bytes.len())) {
                self.input.extend_from_slice(piece);
                self.pump_client(&mut made);
            }
        } else if let Some(text) = line.strip_prefix("B: ") {
            let bytes = cut_short(text, &mut self.rest, language::backend);
            self.discarded = false;
            for piece in bytes.chunks(self.cut_every.unwrap_or(bytes.len())) {
                if self.discarded {
                    break;
                }
                self.backend_input.extend_from_slice(piece);
                self.pump_backend(&mut made);
            }
        } else if let Some(event) = line.strip_prefix("! ") {
            self.befall(event, &mut made);
        }
        made
    }

    fn befall(&mut self, event: &str, made: &mut Vec<String>) {
        match event {
            "strings off" => self.backends.iter_mut().for_each(|b| b.strings = Strings::Escaping),
            "fresh" => self.view.nodes[1].fresh_as_of = Some(self.now),
            "replica down" => self.view.nodes[1].health = Health::Down,
            "primary down" => self.view.primary = None,
            "primary up" => {
                self.view.primary = Some(PRIMARY);
                let input = std::mem::take(&mut self.input);
                let want = self.call(&input, made, |session, cx, _| session.on_view(&input, cx));
                self.input = input;
                self.obey(want, made);
                self.pump_client(made);
            }
            "lost" => {
                let Some(place) = self.held else { return made.push("= nothing is held".to_owned()) };
                self.backend_input.clear();
                let want = self
                    .call(&[], made, |session, cx, backends| session.on_backend_lost(cx, &backends[place]));
                self.backends[place] = Backend::new(
                    self.backends[place].node,
                    self.backends[place].side,
                    self.backends[place].incarnation,
                );
                if want == Want::GiveBack {
                    self.held = None;
                }
                self.obey(want, made);
                self.pump_client(made);
            }
            other => panic!("no event {other}"),
        }
    }

    /// One call of the session, and what it made.
    fn call<R>(
        &mut self,
        input: &[u8],
        made: &mut Vec<String>,
        call: impl FnOnce(&mut Session, &mut Context<'_>, &mut [Backend; 2]) -> R,
    ) -> R {
        let (mut to_backend, mut to_client) = (Pieces::default(), Pieces::default());
        let mut cx = Context {
            now: self.now,
            view: &self.view,
            catalogue: &self.catalogue,
            default_search_path: Some("\"$user\", public"),
            shared: &mut self.shared,
            to_backend: &mut to_backend,
            to_client: &mut to_client,
        };
        let result = call(&mut self.session, &mut cx, &mut self.backends);
        let bytes = |pieces: &Pieces| {
            pieces.list().iter().flat_map(|&p| pieces.bytes(p, input).to_vec()).collect::<Vec<u8>>()
        };
        let (to_backend, to_client) = (bytes(&to_backend), bytes(&to_client));
        // A cut transcript may send parts of messages, which have no words.
        if self.cut_every.is_none() && !to_backend.is_empty() {
            made.push(format!("> {}", language::show_client(&to_backend)));
        }
        if self.cut_every.is_none() && !to_client.is_empty() {
            made.push(format!("< {}", language::show_backend(&to_client)));
        }
        self.sent.0.extend_from_slice(&to_backend);
        self.sent.1.extend_from_slice(&to_client);
        result
    }

    fn pump_client(&mut self, made: &mut Vec<String>) {
        while !self.closed && self.session.waiting_since().is_none() {
            let input = std::mem::take(&mut self.input);
            let held = self.held;
            let step = self.call(&input, made, |session, cx, backends| {
                session.on_client(&input, cx, held.map(|h| &mut backends[h]))
            });
            self.input = input[step.consumed..].to_vec();
            if matches!(step.want, Want::Input | Want::Answers) {
                return;
            }
            self.obey(step.want, made);
        }
    }

    fn pump_backend(&mut self, made: &mut Vec<String>) {
        loop {
            let Some(place) = self.held else {
                if !self.backend_input.is_empty() {
                    made.push("= nobody holds the backend that spoke".to_owned());
                    self.backend_input.clear();
                }
                return;
            };
            let input = std::mem::take(&mut self.backend_input);
            let step = self.call(&input, made, |session, cx, backends| {
                session.on_backend(&input, cx, &mut backends[place])
            });
            self.backend_input = input[step.consumed..].to_vec();
            match step.want {
                Want::Input => return,
                Want::Answers => self.pump_client(made),
                other => {
                    self.obey(other, made);
                    self.pump_client(made);
                }
            }
            if self.closed || self.backend_input.is_empty() {
                return;
            }
        }
    }

    fn obey(&mut self, want: Want, made: &mut Vec<String>) {
        match want {
            Want::Input | Want::Answers => {}
            Want::CheckOut(node) => {
                let place = node.index();
                let reason = self.session.route.last.decision.map_or("", |d| d.reason.name());
                made.push(format!("= check out {} ({reason})", self.view.nodes[place].name));
                self.held = Some(place);
                self.call(&[], made, |session, cx, backends| {
                    session.on_checked_out(&mut backends[place], cx)
                });
            }
            Want::Hold => made.push("= hold".to_owned()),
            Want::GiveBack => {
                made.push("= give back".to_owned());
                self.held = None;
            }
            Want::Rerun { in_step } => {
                made.push(format!("= run again{}", if in_step { "" } else { " (close the backend)" }));
                self.held = None;
                self.discarded = !in_step;
                let mut again = self.session.take_rerun();
                again.append(&mut self.input);
                self.input = again;
            }
            Want::Close => {
                made.push("= close".to_owned());
                self.closed = true;
            }
        }
    }
}
