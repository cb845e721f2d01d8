//! The S3 gateway as a part of a daemon: started as soon as that is possible, and started again if it ends.

use crate::api::ServiceView;
use crate::error::{Error, Exit};
use crate::fleet::{DaemonId, DaemonKind, LogMark, Part, Performing, Report, Task};
use crate::limits::SERVE_RETRY;
use meta::audit::keep_noted;
use meta::record::NodeRecord;
use objectd::{Gateway, GatewayConfig, GatewayHandle, Https, Listeners};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use proto::ids::VolumeId;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// The bound ports of a gateway, which clients may connect to before it serves.
pub struct Ports {
    pub http: TcpListener,
    pub https: Option<HttpsPort>,
}

pub struct HttpsPort {
    pub listener: TcpListener,
    pub addr: SocketAddr,
    pub https: Arc<Https>,
}

/// A gateway, whether it serves or not.
pub struct GatewayPart {
    node: NodeRecord,
    name: String,
    addr: SocketAddr,
    https: Option<(SocketAddr, Arc<Https>)>,
    state: Arc<Mutex<State>>,
    stop: watch::Sender<bool>,
    serving: watch::Receiver<bool>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Tells the control plane how far its audit log is.
    noting: Option<AbortHandle>,
    /// What it counts, if nobody else shows that.
    registry: Option<Registry>,
}

enum State {
    /// And why it does not serve yet.
    Starting(String),
    Serving(GatewayHandle),
    /// Another gateway of this name has opened its log. It is not started again by itself: the two would take the
    /// log from each other for ever.
    Fenced(GatewayHandle),
}

impl GatewayPart {
    /// Starts the gateway behind the bound ports as soon as its log can be opened. What is in `registry` goes into its reports.
    pub fn start(
        node: NodeRecord,
        config: GatewayConfig,
        ports: Ports,
        registry: Option<Registry>,
    ) -> Arc<Self> {
        let (stop, stopped) = watch::channel(false);
        let (serves, serving) = watch::channel(false);
        let state = Arc::new(Mutex::new(State::Starting("it is being started".to_owned())));
        let (name, addr) = (config.gateway.clone(), config.listen);
        let https = ports.https.as_ref().map(|port| (port.addr, Arc::clone(&port.https)));
        let noting = config
            .audit
            .clone()
            .map(|log| tokio::spawn(keep_noted(log, name.clone(), config.meta.clone())).abort_handle());
        let keeper = Keeper { state: Arc::clone(&state), config, ports, serves };
        let keeper = Mutex::new(Some(tokio::spawn(keeper.run(stopped))));
        Arc::new(Self { node, name, addr, https, state, stop, serving, keeper, noting, registry })
    }

    /// Returns when it serves.
    pub async fn serves(&self) {
        let mut serving = self.serving.clone();
        let _ = serving.wait_for(|serving| *serving).await;
    }

    pub async fn stop(&self) {
        self.stop.send_replace(true);
        self.noting.iter().for_each(AbortHandle::abort);
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper {
            let _ = keeper.await;
        }
    }
}

impl Ports {
    /// The same ports for one life of the gateway.
    fn listeners(&self) -> std::io::Result<Listeners> {
        let again = |listener: &TcpListener| listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        let https = match &self.https {
            Some(port) => Some((again(&port.listener)?, Arc::clone(&port.https))),
            None => None,
        };
        Ok(Listeners { http: again(&self.http)?, https })
    }
}

struct Keeper {
    state: Arc<Mutex<State>>,
    config: GatewayConfig,
    ports: Ports,
    serves: watch::Sender<bool>,
}

impl Keeper {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep() => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        let stopping = State::Starting("it is being stopped".to_owned());
        let state = std::mem::replace(&mut *lock(&self.state), stopping);
        if let State::Serving(handle) | State::Fenced(handle) = state {
            handle.stop().await;
        }
    }

    async fn keep(&self) {
        loop {
            let claim = match &*lock(&self.state) {
                State::Serving(handle) if handle.is_serving() => Some(handle.claim()),
                State::Serving(_) | State::Starting(_) => None,
                State::Fenced(_) => return,
            };
            match claim {
                None => self.start().await,
                // What can't be asked now is asked again.
                Some(claim) if matches!(claim.is_lost().await, Ok(true)) => self.fence(),
                Some(_) => {}
            }
            tokio::time::sleep(SERVE_RETRY).await;
        }
    }

    fn fence(&self) {
        tracing::error!(gateway = self.config.gateway, "another gateway of this name has taken its log over");
        let mut state = lock(&self.state);
        let former = std::mem::replace(&mut *state, State::Starting(String::new()));
        *state = match former {
            State::Serving(handle) => State::Fenced(handle),
            other => other,
        };
    }

    async fn start(&self) {
        // The former one's log must be closed before another life of it is opened.
        let former = std::mem::replace(
            &mut *lock(&self.state),
            State::Starting("it ended and is being started again".to_owned()),
        );
        if let State::Serving(former) = former {
            self.serves.send_replace(false);
            tracing::error!("the S3 gateway ended; it is started again");
            former.stop().await;
        }
        let started = match self.ports.listeners() {
            Ok(listeners) => {
                let started = Gateway::start_on(self.config.clone(), listeners).await;
                started.map_err(|error| error.to_string())
            }
            Err(error) => Err(format!("its socket can't be used: {error}")),
        };
        match started {
            Ok(handle) => {
                *lock(&self.state) = State::Serving(handle);
                self.serves.send_replace(true);
            }
            Err(why) => {
                tracing::warn!(why, "the S3 gateway can't start yet");
                *lock(&self.state) = State::Starting(why);
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Part for GatewayPart {
    fn daemon(&self) -> DaemonId {
        DaemonId {
            kind: DaemonKind::Objectd,
            node: self.node.id,
            node_name: self.node.name.clone(),
            name: self.name.clone(),
        }
    }

    fn report(&self) -> Report {
        let state = match &*lock(&self.state) {
            State::Serving(handle) if handle.is_serving() => "running".to_owned(),
            State::Serving(_) => "it ended and will be started again".to_owned(),
            State::Starting(why) => format!("not serving: {why}"),
            State::Fenced(_) => format!(
                "fenced: another gateway named '{0}' has taken over its object log; stop one of the two, or start \
                 this one with another --gateway",
                self.name
            ),
        };
        let mut openmetrics = String::new();
        if let Some(registry) = &self.registry {
            // Writing into a string does not fail; half a text would be skipped by who reads it.
            let _ = encode(&mut openmetrics, registry);
        }
        let mut services = vec![ServiceView {
            name: "s3 gateway".into(),
            address: self.addr.to_string(),
            state: state.clone(),
        }];
        if let Some((addr, https)) = &self.https {
            let state = match https.trouble() {
                Some(why) => format!("{state}, with the certificate of before: {why}"),
                None => state,
            };
            services.push(ServiceView { name: "s3 gateway, https".into(), address: addr.to_string(), state });
        }
        let mark = match &*lock(&self.state) {
            State::Serving(handle) => handle.log_mark(),
            State::Starting(_) | State::Fenced(_) => None,
        };
        let of_log = |(volume, settled_bytes): (VolumeId, u64)| LogMark { volume: volume.0, settled_bytes };
        Report { services, openmetrics, logs: mark.map(of_log).into_iter().collect(), ..Report::default() }
    }

    fn perform(self: Arc<Self>, _: Task) -> Performing {
        Box::pin(async {
            Err(Error::new(Exit::Usage, "the gateway takes no requests of this kind; ask another daemon"))
        })
    }
}
