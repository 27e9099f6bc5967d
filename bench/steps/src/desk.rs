//! A session with just enough of a shell around it to answer queries: one primary, one replica, backends always at hand. Nothing is
//! sent anywhere: what is counted is the engine.

use std::time::Duration;

use engine::freshness::Level;
use engine::pool::PoolMode;
use engine::route::RouteMode;
use engine::session::{Backend, Context, Pieces, Profile, Session, Shared, Side, Want};
use engine::time::Instant;
use engine::view::{Epoch, Health, Incarnation, NodeId, NodeView, Role, View};
use sql::{Catalogue, Persistence, RelationKind};
use wire::lsn::Timeline;

const PRIMARY: NodeId = NodeId(0);
const REPLICA: NodeId = NodeId(1);
/// What a worker of the router gives its memo.
const MEMO_BYTES: usize = 4 << 20;

/// The desk.
pub(crate) struct Desk {
    session: Session,
    backends: [Backend; 2],
    held: Option<usize>,
    view: View,
    catalogue: Catalogue,
    shared: Shared,
    to_backend: Pieces,
    to_client: Pieces,
    /// How many bytes went to either side.
    pub(crate) sent: usize,
    /// What went to the backend, while somebody wants to know.
    pub(crate) noted: Option<Vec<u8>>,
}

/// The moment at which everything happens.
pub(crate) fn now() -> Instant {
    Instant::from_nanos(1_000_000_000)
}

/// A primary, and a replica that is fresh.
pub(crate) fn view() -> View {
    let node = |id: NodeId, name: &str, role| NodeView {
        id,
        name: name.into(),
        role,
        health: Health::Up,
        incarnation: Some(Incarnation(u64::from(id.0))),
        timeline: Some(Timeline(1)),
        position: None,
        lag_bytes: Some(0),
        fresh_as_of: Some(now()),
        drained: false,
        spared: false,
    };
    let nodes = vec![node(PRIMARY, "primary", Role::Primary), node(REPLICA, "replica", Role::Replica)];
    View { version: 1, epoch: Epoch(1), primary: Some(PRIMARY), nodes }
}

/// A catalogue that has pgbench's table.
pub(crate) fn catalogue() -> Catalogue {
    let mut builder = Catalogue::builder();
    builder.complete();
    builder.relation("public", "pgbench_accounts", RelationKind::Plain, Persistence::Permanent);
    builder.finish(1)
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let profile = Profile {
            mode: RouteMode::Auto,
            pool_mode: PoolMode::Transaction,
            level: Level::Session,
            max_staleness: Duration::from_secs(10),
            message_bytes_max: 1 << 28,
            wait_max: Duration::from_secs(10),
            database_key: 1,
            user: "app".into(),
        };
        Desk {
            session: Session::new(profile, &[]),
            backends: [
                Backend::new(PRIMARY, Side::Primary, Incarnation(0)),
                Backend::new(REPLICA, Side::Replica, Incarnation(1)),
            ],
            held: None,
            view: view(),
            catalogue: catalogue(),
            shared: Shared::new(MEMO_BYTES, (engine::pool::WorkerId(0), 1)),
            to_backend: Pieces::default(),
            to_client: Pieces::default(),
            sent: 0,
            noted: None,
        }
    }

    /// Where the backend is that is held.
    pub(crate) fn is_on_replica(&self) -> bool {
        self.held == Some(1)
    }

    /// Whether the session holds no backend and waits for nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.held.is_none() && self.session.is_idle()
    }

    /// Bytes of the client.
    pub(crate) fn on_client(&mut self, input: &[u8]) {
        let mut at = 0;
        loop {
            let held = self.held;
            let rest = &input[at..];
            let step = self.call(rest, |session, cx, backends| {
                session.on_client(rest, cx, held.and_then(|held| backends.get_mut(held)))
            });
            at += step.consumed;
            if matches!(step.want, Want::Input | Want::Answers) {
                return;
            }
            self.obey(step.want);
        }
    }

    /// Bytes of the backend that is held.
    pub(crate) fn on_backend(&mut self, input: &[u8]) {
        let mut at = 0;
        while at < input.len() {
            let held = self.held.expect("a backend answers only while it is held");
            let rest = &input[at..];
            let step =
                self.call(rest, |session, cx, backends| session.on_backend(rest, cx, &mut backends[held]));
            at += step.consumed;
            match step.want {
                Want::Input => return,
                Want::Answers => self.on_client(&[]),
                other => self.obey(other),
            }
        }
    }

    fn obey(&mut self, want: Want) {
        match want {
            Want::CheckOut(node) => {
                let place = usize::try_from(node.0).expect("there are two nodes");
                self.held = Some(place);
                self.call(&[], |session, cx, backends| session.on_checked_out(&mut backends[place], cx));
            }
            Want::GiveBack => self.held = None,
            Want::Input | Want::Answers => {}
            Want::Hold | Want::Rerun { .. } | Want::Close => {
                panic!("the steps hold nothing that leads to {want:?}")
            }
        }
    }

    /// One call of the session; what it makes is counted as sent.
    fn call<R>(
        &mut self,
        input: &[u8],
        call: impl FnOnce(&mut Session, &mut Context<'_>, &mut [Backend; 2]) -> R,
    ) -> R {
        let mut cx = Context {
            now: now(),
            view: &self.view,
            catalogue: &self.catalogue,
            default_search_path: Some("\"$user\", public"),
            shared: &mut self.shared,
            to_backend: &mut self.to_backend,
            to_client: &mut self.to_client,
        };
        let result = call(&mut self.session, &mut cx, &mut self.backends);
        if let Some(noted) = &mut self.noted {
            self.to_backend
                .list()
                .iter()
                .for_each(|&piece| noted.extend_from_slice(self.to_backend.bytes(piece, input)));
        }
        for pieces in [&mut self.to_backend, &mut self.to_client] {
            self.sent += pieces.len();
            pieces.clear();
        }
        self.shared.events.clear();
        result
    }
}
