//! `highwater status --watch` in a terminal: asks every second and draws what has changed; q ends it.
//!
//! `frame` lays out, `history` remembers what a moment alone can't tell (rates, the course of a lag), `screen` owns the terminal.
//! A router that does not answer is said so, and asked again: it may be restarting.

mod frame;
mod history;
mod paint;
mod screen;

use anyhow::Context as _;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::REFRESH;
use crate::{environment, http};
use frame::{Picture, Pulse};
use history::History;
use paint::Looks;
use screen::{Key, Screen};

/// Draws until somebody wants no more of it. The first question must be answered: a wrong address is said at once.
pub(super) fn watch(address: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut shown = Shown::new(ask(address).await?);
        let mut screen = Screen::enter().context("can't draw in this terminal")?;
        let drawn = draw(address, &mut shown, &mut screen).await;
        drop(screen);
        drawn
    })
}

async fn draw(address: &str, shown: &mut Shown, screen: &mut Screen) -> anyhow::Result<()> {
    let looks = looks();
    let mut resized = signal(SignalKind::window_change())?;
    let mut told_to_end = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    refresh.tick().await;
    loop {
        let size = screen.size();
        screen.draw(&frame::frame(&shown.picture(), size, looks), size, looks)?;
        tokio::select! {
            _ = refresh.tick() => {
                if shown.pulse != Pulse::Held {
                    shown.take(ask(address).await);
                }
            }
            key = screen.key() => match key? {
                Key::Quit => return Ok(()),
                Key::Hold => shown.hold(),
                Key::Other => {}
            },
            _ = resized.recv() => screen.forget(),
            _ = told_to_end.0.recv() => return Ok(()),
            _ = told_to_end.1.recv() => return Ok(()),
        }
    }
}

/// What one round of questions brought.
struct Answers {
    status: Value,
    stats: Value,
    events: Value,
}

async fn ask(address: &str) -> anyhow::Result<Answers> {
    Ok(Answers {
        status: http::json_soon(address, "/api/v1/status").await?,
        stats: http::json_soon(address, "/api/v1/stats").await?,
        events: http::json_soon(address, "/api/v1/events").await?,
    })
}

/// What is on the screen.
struct Shown {
    answers: Answers,
    history: History,
    pulse: Pulse,
}

impl Shown {
    fn new(answers: Answers) -> Shown {
        let mut history = History::default();
        history.push(&answers.status, &answers.stats);
        Shown { answers, history, pulse: Pulse::Live }
    }

    fn take(&mut self, answers: anyhow::Result<Answers>) {
        match answers {
            Ok(answers) => {
                self.history.push(&answers.status, &answers.stats);
                self.answers = answers;
                self.pulse = Pulse::Live;
            }
            Err(error) => {
                let tries = if let Pulse::Silent { tries, .. } = self.pulse { tries + 1 } else { 1 };
                self.pulse = Pulse::Silent { tries, why: format!("{error:#}") };
            }
        }
    }

    /// Stops the picture, or lets it go on.
    fn hold(&mut self) {
        self.pulse = if self.pulse == Pulse::Held { Pulse::Live } else { Pulse::Held };
    }

    fn picture(&self) -> Picture<'_> {
        Picture {
            status: &self.answers.status,
            events: &self.answers.events,
            history: &self.history,
            pulse: &self.pulse,
        }
    }
}

/// Colours unless NO_COLOR asks for none (<https://no-color.org>); blocks where the locale has them.
fn looks() -> Looks {
    let text = |name| {
        environment::variable(name).and_then(|value| value.into_string().ok()).filter(|v| !v.is_empty())
    };
    let locale = text("LC_ALL").or_else(|| text("LC_CTYPE")).or_else(|| text("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    Looks { colours: text("NO_COLOR").is_none(), blocks: locale.contains("utf-8") || locale.contains("utf8") }
}
