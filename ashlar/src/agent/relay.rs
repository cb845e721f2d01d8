//! The way of a running guest from one machine to another.
//!
//! QEMU sends and takes guests through unix sockets in folders that only the agent may enter. Between the agents
//! runs one TCP connection, which counts only once it has shown the key that the control plane carried: whoever
//! gets a guest of his own into the other QEMU has that VM's volume.

use crate::error::{Error, Exit};
use crate::fleet::Door;
use crate::limits::{CONNECT_TIMEOUT, DOOR_KEY_BYTES, DOOR_KEY_TIMEOUT, MOVE_PATIENCE};
use meta::record::Secret;
use rt::rng::{Rng, SystemRng};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Lets one guest in, through a port of `at` and into the QEMU that listens at `incoming`. The task ends when it
/// has passed, or when none came.
pub async fn open_door(at: SocketAddr, incoming: PathBuf) -> Result<(Door, JoinHandle<()>), Error> {
    let failed = |error| Error::failed(format!("can't listen on {at} for a VM that moves here: {error}"));
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let mut key = [0; DOOR_KEY_BYTES / 2];
    SystemRng.fill(&mut key);
    let key = hex::encode(key);
    let door = Door { address: listener.local_addr().map_err(failed)?, key: Secret(key.clone()) };
    let letting_in = tokio::spawn(async move {
        match timeout(MOVE_PATIENCE, admit(&listener, &key)).await {
            Ok(Ok(guest)) => {
                drop(listener);
                if let Err(error) = let_in(guest, &incoming).await {
                    tracing::warn!(%error, "a VM did not come in wholly");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "a VM can't come in"),
            Err(_) => tracing::warn!("no VM came in"),
        }
    });
    Ok((door, letting_in))
}

/// The first who has the key.
async fn admit(listener: &TcpListener, key: &str) -> io::Result<TcpStream> {
    loop {
        let (mut stream, from) = listener.accept().await?;
        let mut shown = [0; DOOR_KEY_BYTES];
        let read = timeout(DOOR_KEY_TIMEOUT, stream.read_exact(&mut shown)).await;
        if matches!(read, Ok(Ok(_))) && bool::from(shown.ct_eq(key.as_bytes())) {
            return Ok(stream);
        }
        tracing::warn!(%from, "somebody without the key came to the door of a VM that moves here");
    }
}

async fn let_in(mut guest: TcpStream, incoming: &Path) -> io::Result<()> {
    let mut qemu = UnixStream::connect(incoming).await?;
    copy_bidirectional(&mut guest, &mut qemu).await.map(drop)
}

/// Goes to a door elsewhere and shows the key.
pub async fn enter(door: &Door) -> Result<TcpStream, Error> {
    let entering = async {
        let mut stream = TcpStream::connect(door.address).await?;
        stream.write_all(door.key.0.as_bytes()).await?;
        io::Result::Ok(stream)
    };
    let entered =
        timeout(CONNECT_TIMEOUT, entering).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    entered.map_err(|error| {
        Error::new(
            Exit::Unavailable,
            format!(
                "the other machine can't be reached at {} ({error}); see `ashlar agent --listen`",
                door.address
            ),
        )
    })
}

/// Joins the guest that QEMU sends into `leaving` to a door that was entered, until all of it has passed.
pub async fn carry(leaving: UnixListener, mut door: TcpStream) -> io::Result<()> {
    let (mut guest, _) = leaving.accept().await?;
    drop(leaving);
    copy_bidirectional(&mut guest, &mut door).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_who_has_the_key_comes_in_and_everything_does() {
        let dir = tempfile::tempdir().unwrap();
        let (incoming, outgoing) = (dir.path().join("in"), dir.path().join("out"));
        let qemu = UnixListener::bind(&incoming).unwrap();
        let (door, letting_in) = open_door("127.0.0.1:0".parse().unwrap(), incoming).await.unwrap();
        let mut stranger = TcpStream::connect(door.address).await.unwrap();
        stranger.write_all(&[b'0'; DOOR_KEY_BYTES]).await.unwrap();
        stranger.write_all(b"another guest").await.unwrap();

        let leaving = UnixListener::bind(&outgoing).unwrap();
        let carrying = tokio::spawn(carry(leaving, enter(&door).await.unwrap()));
        let mut guest = UnixStream::connect(&outgoing).await.unwrap();
        let memory = vec![7; 3 << 20];
        let sending = async {
            guest.write_all(&memory).await.unwrap();
            drop(guest);
        };
        let receiving = async {
            let (mut stream, _) = qemu.accept().await.unwrap();
            let mut came = Vec::new();
            stream.read_to_end(&mut came).await.unwrap();
            came
        };
        let ((), came) = tokio::join!(sending, receiving);
        assert!(came == memory, "{} bytes of {} came in", came.len(), memory.len());
        carrying.await.unwrap().unwrap();
        letting_in.await.unwrap();
        assert!(enter(&door).await.is_err(), "the door is shut behind the first");
        assert!(!format!("{door:?}").contains(&door.key.0), "a key in a log");
    }
}
