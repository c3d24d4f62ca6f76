//! The observation as others see it over HTTP: where each look, and each verdict, is handed over.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::{clock::mono_ns, mark, observation::own_cost, say, wait::Senders};
use crate::{
    cli::ExposeArgs,
    core::{
        engine::{Engine, Update},
        event::Event,
        frame::{Frame, RunHeader},
        snapshot::Snapshot,
        standing::Standing,
        verdict::Verdict,
    },
    sinks::{
        http::{Board, Bound, FrameWanted, Listen, Notice, Server, Ways, router},
        prometheus::{Metrics, Now},
    },
};

/// What is exposed, and the server that does it.
pub(super) struct Exposed {
    board: Arc<Board>,
    server: Server,
}

impl Exposed {
    /// Serves on `--listen`, or on `default`; `None` without either. What happens to the server goes to `notify`: it is
    /// not printed over a dashboard.
    ///
    /// # Errors
    ///
    /// What the web configuration or the address forbids, with the way out.
    pub(super) fn open(
        args: &ExposeArgs,
        default: Option<Listen>,
        header: &RunHeader,
        senders: Senders,
        notify: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Result<Option<Self>> {
        let Some(listen) = args.listen.clone().or(default) else {
            ensure!(
                args.web_config_file.is_none(),
                "--web.config.file says how to serve, and needs --listen"
            );
            return Ok(None);
        };
        let bound = Bound::open(&listen, args.web_config_file.as_deref())?;
        bound.warnings().iter().for_each(|warning| say(format_args!("{warning}")));
        let Senders { marks, frames } = senders;
        let mark = move |name: &str| {
            let name = mark::parse(name.as_bytes())?;
            marks.send(name).map_err(|_| "the observation is ending".to_owned())
        };
        let metrics = Arc::new(Metrics::new(header.clone()).context("cannot make the metrics")?);
        let ways = Ways { clock: mono_ns, mark: Box::new(mark), frames };
        let board = Arc::new(Board::new(metrics, &header.id, ways));
        board.looked(mono_ns());
        let (scheme, status) = (bound.scheme(), bound.status());
        let server = bound.serve(router(Arc::clone(&board), status), notify)?;
        say(format_args!("listening on {scheme}://{}", server.local_addr()));
        Ok(Some(Self { board, server }))
    }

    /// A look has been taken.
    pub(super) fn looked(&self, frame: &Frame, update: &Update, happened: &[Event], engine: &Engine) {
        self.board.metrics.enter(frame, update, engine);
        let offset_ns = i128::from(frame.real_ns) - i128::from(frame.mono_ns);
        let real_ns = |at_ns: u64| u64::try_from(i128::from(at_ns) + offset_ns).unwrap_or(0);
        self.board.events.enter(happened, real_ns);
        self.board.looked(mono_ns());
    }

    /// This is how things stand.
    pub(super) fn show(&self, engine: &Engine, snapshot: Snapshot, verdict: Arc<Verdict>, in_episode: bool) {
        let (closest, cost) = (engine.closest(), own_cost());
        self.board.metrics.show(Now { snapshot, verdict, closest, in_episode, cost });
    }

    /// Answers whoever is being answered, and no one else.
    pub(super) fn close(self) {
        self.server.stop();
    }
}

/// Where nothing is drawn, a notice is printed.
pub(super) fn print(notice: Notice) {
    say(format_args!("{notice}"));
}

/// Answers who wants to know all that is known.
pub(super) fn answer(wanted: FrameWanted, engine: &Engine) {
    if let Ok(text) = serde_json::to_vec(&Standing::of(engine)) {
        // Whoever asked may be gone.
        let _ = wanted.send(text.into());
    }
}
