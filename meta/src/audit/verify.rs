//! Whether a log is as it was written: nothing changed, nothing added, nothing taken out but what was due.

use super::chain::{self, Head, Line};
use super::files::{self, LogFile};
use super::writer::REMOVED;
use crate::error::MetaError;
use crate::limits::MAX_AUDIT_FAULTS;
use crate::record::AuditHead;
use serde::Serialize;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Something that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    pub file: String,
    /// From 1 on; 0 for what is about the end of the file.
    pub line: u64,
    pub what: String,
}

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub files: u64,
    pub lines: u64,
    /// The numbers of its first and last line; 0 of none.
    pub first: u64,
    pub last: u64,
    pub first_time: Option<String>,
    pub last_time: Option<String>,
    /// The last line's hash: kept elsewhere, it shows later that nothing up to there was taken out.
    pub hash: String,
    /// The first of them; no log is right that has any.
    pub faults: Vec<Fault>,
}

/// Reads the whole log of a folder. With `known`, which the control plane was told of it earlier, lines that were cut off
/// at its end show too.
///
/// Errors: the folder or a file can't be read. What is wrong with its content is in the answer.
pub fn verify(dir: &Path, known: Option<&AuditHead>) -> Result<Verified, MetaError> {
    let mut reading = Reading { known: known.cloned(), ..Reading::default() };
    let found = files::list(dir)?;
    let count = found.len();
    for (index, file) in found.iter().enumerate() {
        reading.file(file, index + 1 == count)?;
    }
    Ok(reading.finish(count as u64))
}

#[derive(Default)]
struct Reading {
    found: Verified,
    head: Option<Head>,
    /// The line in front of the first one, if the log does not begin with it, and whether a later line says that it was
    /// removed.
    before: Option<(Head, bool)>,
    first_file: String,
    last_file: String,
    /// What must be in it.
    known: Option<AuditHead>,
}

impl Reading {
    fn file(&mut self, file: &LogFile, is_last: bool) -> Result<(), MetaError> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.last_file.clone_from(&name);
        let unread = |error| files::failed("can't read", &file.path, error);
        let mut reader = BufReader::new(File::open(&file.path).map_err(unread)?);
        let mut number = 0;
        while let Some(raw) = files::next_line(&mut reader).map_err(unread)? {
            number += 1;
            if !raw.is_whole() {
                // Of the last file it is what a kill left of a line that nobody was answered for.
                if !is_last {
                    self.fault(&name, number, "it is cut off");
                }
                break;
            }
            match chain::read(raw.text()) {
                Ok(line) => {
                    if number == 1 && line.place.seq != file.first {
                        self.fault(&name, number, "the file's name is not the number of its first line");
                    }
                    self.line(&name, number, line);
                }
                Err(what) => {
                    self.fault(&name, number, what);
                    // The next line still says where it belongs; what was here does not.
                    self.head = None;
                    self.found.lines += 1;
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, file: &str, number: u64, line: Line) {
        let Line { place, entry, hash } = line;
        if self.found.first == 0 {
            self.found.first = place.seq;
            self.found.first_time = Some(place.time.clone());
            self.first_file = file.to_owned();
            if place.seq > 1 && self.found.lines == 0 {
                self.before = Some((Head { seq: place.seq - 1, hash: place.prev.clone() }, false));
            } else if self.found.lines == 0 && place.prev != Head::default().hash {
                self.fault(file, number, "it is the first line and names one before it");
            }
        }
        if let Some(head) = &self.head {
            let (expected, is_next) = (head.seq + 1, place.prev == head.hash);
            if place.seq > expected {
                let missing = format!("lines {expected} to {} are missing in front of it", place.seq - 1);
                self.fault(file, number, &missing);
            } else if place.seq < expected || !is_next {
                self.fault(file, number, "it does not follow the line in front of it");
            }
        }
        if let (Some((before, is_told)), REMOVED) = (&mut self.before, entry.action.as_str()) {
            let told = format!("{} {}", before.seq, before.hash);
            *is_told |= entry.resource.is_some_and(|resource| resource.ends_with(&told));
        }
        if self.known.as_ref().is_some_and(|known| known.seq == place.seq && known.hash != hash) {
            self.fault(file, number, "the control plane knows another line of this number");
        }
        self.found.lines += 1;
        self.found.last = place.seq;
        self.found.last_time = Some(place.time);
        self.head = Some(Head { seq: place.seq, hash });
    }

    fn fault(&mut self, file: &str, line: u64, what: &str) {
        if self.found.faults.len() < MAX_AUDIT_FAULTS {
            self.found.faults.push(Fault { file: file.to_owned(), line, what: what.to_owned() });
        }
    }

    fn finish(mut self, files: u64) -> Verified {
        if let Some((before, false)) = self.before.take() {
            let what = format!("lines 1 to {} are missing, and no line says that they were due", before.seq);
            let file = self.first_file.clone();
            self.fault(&file, 1, &what);
        }
        if let Some(known) = self.known.take().filter(|known| known.seq > self.found.last) {
            let what = format!("lines {} to {} are missing at the end", self.found.last + 1, known.seq);
            let file = self.last_file.clone();
            self.fault(&file, 0, &what);
        }
        self.found.hash = self.head.unwrap_or_default().hash;
        self.found.files = files;
        self.found
    }
}
