//! What the agent answers.

use super::{
    connection::{Broken, Connection, Message, Patience},
    door::{Door, Place, Places},
    executable::Digests,
    listener::Listener,
    process::{Process, Unidentified, boot_id},
    quota::{Quota, Rates},
};
use crate::output::{Exit, Failure};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::net::{UCred, sockopt::socket_peercred};
use std::{
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use strongroom::{
    collect::{
        Attester, CollectError, Wanted,
        agent::{AgentAnswer, AgentRefusal, AgentRequest},
    },
    protocol::{Bytes, Fixed, Statement, limits},
};

/// Stack of a connection's thread, bytes: it parses JSON and does little else.
const STACK: usize = 512 << 10;
/// When somebody who found no place may come again.
const LATER: Duration = Duration::from_millis(500);
/// The pause after an `accept` that failed, which is for want of files or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Bounds of the service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests a minute.
    pub(crate) rates: Rates,
    /// Connections of one user.
    pub(crate) user_connections: usize,
    /// Connections of all users.
    pub(crate) connections: usize,
    /// Statements that may wait for the devices.
    pub(crate) waiting: usize,
    /// How long a connection may take.
    pub(crate) patience: Patience,
}

/// The agent.
pub(crate) struct Agent {
    devices: Box<dyn Attester>,
    digests: Digests,
    boot_id: String,
    quota: Mutex<Quota>,
    door: Arc<Door>,
    waiting: AtomicUsize,
    limits: Limits,
}

/// Whom a connection has been told that it is.
struct Known {
    process: Process,
    token: Fixed<16>,
}

/// Why the answer is no.
struct No {
    code: AgentRefusal,
    message: String,
    after: Option<Duration>,
}

impl No {
    fn new(code: AgentRefusal, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), after: None }
    }
}

impl From<Unidentified> for No {
    fn from(why: Unidentified) -> Self {
        let code = match why {
            Unidentified::Replaced | Unidentified::AnotherUser => AgentRefusal::NotTheCaller,
            Unidentified::Slow => return Self { after: Some(LATER), ..Self::new(AgentRefusal::Busy, why.to_string()) },
            _ => AgentRefusal::Unidentified,
        };
        Self::new(code, why.to_string())
    }
}

impl Agent {
    /// An agent over these devices.
    pub(crate) fn new(devices: Box<dyn Attester>, limits: Limits) -> Result<Arc<Self>, Failure> {
        let boot_id = boot_id().map_err(|e| Failure::file("/proc/sys/kernel/random/boot_id", e))?;
        Ok(Arc::new(Self {
            devices,
            digests: Digests::default(),
            boot_id,
            quota: Mutex::new(Quota::new(limits.rates, Instant::now())),
            door: Door::new(Places { user: limits.user_connections, all: limits.connections }),
            waiting: AtomicUsize::new(0),
            limits,
        }))
    }

    /// Serves connections, each on a thread of its own, from a thread of its own.
    pub(crate) fn serve(self: &Arc<Self>, listener: Listener) -> Result<(), Failure> {
        let agent = Arc::clone(self);
        let serve = move || {
            for stream in listener.socket.incoming() {
                match stream {
                    Ok(stream) => agent.admit(&stream),
                    Err(error) => {
                        tracing::error!(%error, "no connection could be accepted");
                        thread::sleep(PAUSE);
                    }
                }
            }
        };
        let started = thread::Builder::new().name("accept".to_owned()).spawn(serve);
        started.map_err(|e| Failure::new(Exit::Machine, format!("starting a thread: {e}")))?;
        super::activation::tell_ready();
        Ok(())
    }

    /// Whether statements are being attested.
    pub(crate) fn is_at_work(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    fn admit(self: &Arc<Self>, stream: &UnixStream) {
        let Ok(peer) = socket_peercred(stream) else { return };
        let (Ok(connection), Ok(copy)) =
            (stream.try_clone().and_then(|s| Connection::new(s, self.limits.patience)), stream.try_clone())
        else {
            return;
        };
        let Some(place) = self.door.enter(peer.uid.as_raw(), copy) else {
            tracing::warn!(uid = peer.uid.as_raw(), "no place for another connection");
            let no = No { after: Some(LATER), ..No::new(AgentRefusal::Busy, "no place for another connection") };
            return send(&connection, &refusal(no));
        };
        let agent = Arc::clone(self);
        let work = move || agent.converse(&connection, &place);
        if let Err(error) = thread::Builder::new().name("caller".to_owned()).stack_size(STACK).spawn(work) {
            tracing::error!(%error, "no thread for a connection");
        }
    }

    /// Answers requests until the connection ends. One that is not a request ends it.
    fn converse(&self, connection: &Connection, place: &Place) {
        let mut known = None;
        loop {
            let message = match connection.receive() {
                Ok(message) => message,
                Err(Broken::Over) => return,
                Err(Broken::TooLarge(length)) => {
                    let text = format!("a frame of {length} bytes is above the cap");
                    return send(connection, &refusal(No::new(AgentRefusal::TooLarge, text)));
                }
                Err(Broken::TooSlow) => {
                    let text = "the frame did not arrive in time";
                    return send(connection, &refusal(No::new(AgentRefusal::TooSlow, text)));
                }
                Err(Broken::NoSender) => {
                    let text = "a frame has one sender, whom the kernel names";
                    return send(connection, &refusal(No::new(AgentRefusal::Unidentified, text)));
                }
            };
            place.at_work(true);
            let sender = message.sender;
            let answer = self.answer(&message, &mut known).unwrap_or_else(|no| {
                let (pid, uid) = (sender.pid.as_raw_pid(), sender.uid.as_raw());
                tracing::warn!(pid, uid, code = no.code.as_str(), why = no.message, "refused");
                refusal(no)
            });
            send(connection, &answer);
            place.at_work(false);
            if matches!(answer, AgentAnswer::Refused { code: AgentRefusal::Malformed, .. }) {
                return;
            }
        }
    }

    fn answer(&self, message: &Message, known: &mut Option<Known>) -> Result<AgentAnswer, No> {
        let sender = message.sender;
        self.quota.lock().unwrap_or_else(PoisonError::into_inner).take(sender.uid.as_raw(), Instant::now()).map_err(
            |after| No {
                after: Some(after),
                ..No::new(AgentRefusal::TooMany, "too many requests of this user, or of all")
            },
        )?;
        let request = serde_json::from_slice(&message.body)
            .map_err(|e| No::new(AgentRefusal::Malformed, format!("not a request: {e}")))?;
        match request {
            AgentRequest::Caller {} => self.identify(sender, known),
            AgentRequest::Attest { token, statement, selection, ima_offset } => {
                let known = known.as_mut().filter(|known| known.token == token).ok_or_else(|| {
                    No::new(AgentRefusal::NotTheCaller, "ask who the caller is first, on this connection")
                })?;
                let wanted = Wanted { selection: &selection, ima_offset };
                self.attest(sender, &mut known.process, &statement, wanted)
            }
        }
    }

    /// Takes hold of the sender, anew each time: it may have become another program.
    fn identify(&self, sender: UCred, known: &mut Option<Known>) -> Result<AgentAnswer, No> {
        *known = None;
        let process = Process::hold(sender, &self.digests, &self.boot_id)?;
        let mut token = Fixed([0; 16]);
        let no_random = |_| No::new(AgentRefusal::Device, "the system gives no random bytes");
        SystemRandom::new().fill(&mut token.0).map_err(no_random)?;
        let caller = Bytes(process.bytes.clone());
        *known = Some(Known { process, token });
        Ok(AgentAnswer::Caller { caller, token })
    }

    fn attest(
        &self,
        sender: UCred,
        process: &mut Process,
        statement: &Bytes,
        wanted: Wanted<'_>,
    ) -> Result<AgentAnswer, No> {
        process.check(sender)?;
        // Parsed for its shape: an agent signs statements and nothing else.
        let parsed = Statement::parse(statement.as_slice())
            .map_err(|e| No::new(AgentRefusal::StatementRefused, format!("not a statement: {e}")))?;
        if wanted.selection.bitmap().is_none() {
            return Err(No::new(
                AgentRefusal::StatementRefused,
                "the PCR selection is not ascending and within 0 to 23",
            ));
        }
        let mismatch = |why: &str| No::new(AgentRefusal::CallerMismatch, why);
        match parsed.caller {
            None => return Err(mismatch("the statement names no caller")),
            Some(named) if named.sha256.0 != process.sha256 => {
                return Err(mismatch("the statement names another caller than the process that sent it"));
            }
            Some(_) => {}
        }
        if !process.is_as_it_was(&self.digests, &self.boot_id)? {
            return Err(mismatch("the caller is no longer who it was; ask again who it is"));
        }
        let _turn = Turn::take(&self.waiting, self.limits.waiting)
            .ok_or_else(|| No { after: Some(LATER), ..No::new(AgentRefusal::Busy, "too many wait for the devices") })?;
        let begun = Instant::now();
        // With a caller, so under a tag that ends in `-agent`.
        let evidence = self.devices.collect(statement.as_slice(), Some(&process.bytes), wanted).map_err(|e| {
            tracing::error!(error = %e, "the devices gave no evidence");
            No::new(AgentRefusal::Device, for_the_job(&e))
        })?;
        let facts = &process.facts;
        tracing::info!(
            pid = facts.pid,
            uid = facts.uid,
            exe = facts.exe.path,
            exe_sha256 = facts.exe.sha256,
            act = ?parsed.act,
            lease = parsed.lease.map(tracing::field::display),
            caller_sha256 = %Fixed(process.sha256),
            took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "attested"
        );
        Ok(AgentAnswer::Evidence { evidence })
    }
}

/// One of so many that may wait.
struct Turn<'a>(&'a AtomicUsize);

impl<'a> Turn<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let more = |now| (now < most).then_some(now + 1);
        waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok().map(|_| Self(waiting))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn refusal(no: No) -> AgentAnswer {
    let retry_after_ms = no.after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1));
    AgentAnswer::Refused { code: no.code, message: no.message, retry_after_ms }
}

/// What the devices' failure means to a job, which can set nothing about them.
fn for_the_job(error: &CollectError) -> String {
    match error {
        CollectError::TpmTimeout { device, doing, timeout } => format!(
            "{device}: {doing}: no answer within {} s; the TPM is held by another process than the agent, or has \
             failed: tell who runs this node, `journalctl -u strongroom-agent` has more",
            timeout.as_secs_f32()
        ),
        other => other.to_string(),
    }
}

/// An answer as it is framed. Logs and many devices may give more than an answer holds; then it says so, where a
/// client would see no more than a frame above its cap.
fn body_of(answer: &AgentAnswer) -> serde_json::Result<Vec<u8>> {
    let body = serde_json::to_vec(answer)?;
    if body.len() <= limits::AGENT_ANSWER {
        return Ok(body);
    }
    let text = format!(
        "the evidence takes {} bytes, and an answer holds {}: have the agent send shorter logs, or give fewer devices",
        body.len(),
        limits::AGENT_ANSWER
    );
    tracing::error!(why = text, "the devices gave too much evidence");
    serde_json::to_vec(&refusal(No::new(AgentRefusal::Device, text)))
}

/// Sends an answer, if anybody is still there.
fn send(connection: &Connection, answer: &AgentAnswer) {
    let sent = body_of(answer).map_err(std::io::Error::from).and_then(|body| connection.reply(&body));
    if let Err(error) = sent {
        tracing::debug!(%error, "an answer was not taken");
    }
}

#[cfg(test)]
mod tests;
