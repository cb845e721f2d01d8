//! `ashlar vm console`: this terminal, joined to the guest's serial line.

use crate::error::{Error, Exit};
use compute::VmInfo;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// `^]`, as telnet and virsh have it.
const LEAVE: u8 = 0x1d;

/// Prints all that the guest has written since it was started.
pub fn print_log(vm: &VmInfo) -> Result<(), Error> {
    let path = &vm.console_log;
    let mut file = std::fs::File::open(path)
        .map_err(|error| Error::failed(format!("can't read {}: {error}", path.display())))?;
    match std::io::copy(&mut file, &mut std::io::stdout().lock()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("can't copy {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Joins stdin and stdout to the console until `^]`, the end of stdin, or the VM's end.
pub fn attach(vm: &VmInfo) -> Result<(), Error> {
    if !vm.state.is_running() {
        return Err(Error::new(
            Exit::Conflict,
            format!("{} is not running; ashlar vm console {} --log shows what it wrote", vm.name, vm.name),
        ));
    }
    let failed = |error| Error::failed(format!("can't reach the console of {}: {error}", vm.name));
    let stream = UnixStream::connect(&vm.console).map_err(failed)?;
    let reader = stream.try_clone().map_err(failed)?;
    let _raw = RawTerminal::enter();
    if std::io::stdin().is_terminal() {
        let _ = write!(std::io::stderr(), "connected to {}; ^] leaves\r\n", vm.name);
    }
    // Ends with the stream: when the guest's QEMU does, or when the loop below shuts it.
    let output = std::thread::spawn(move || {
        let mut reader = reader;
        let mut out = std::io::stdout();
        let mut buffer = [0u8; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
                break;
            }
        }
    });
    let mut input = std::io::stdin().lock();
    let mut buffer = [0u8; 256];
    while let Ok(count @ 1..) = input.read(&mut buffer) {
        let typed = &buffer[..count];
        let end = typed.iter().position(|byte| *byte == LEAVE);
        if (&stream).write_all(&typed[..end.unwrap_or(count)]).is_err() || end.is_some() {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
    let _ = output.join();
    Ok(())
}

/// The terminal without line editing and echo, put back when dropped.
struct RawTerminal(Option<Termios>);

impl RawTerminal {
    fn enter() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else { return Self(None) };
        let mut raw = before.clone();
        raw.make_raw();
        let entered = tcsetattr(&stdin, OptionalActions::Flush, &raw).is_ok();
        Self(entered.then_some(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
        }
    }
}
