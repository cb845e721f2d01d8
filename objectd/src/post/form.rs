//! multipart/form-data, piece by piece: the fields up to the file, then the file's bytes as they come. Pure.
//!
//! Source: RFC 7578, RFC 2046 5.1.1; S3 API reference, "POST Object": the file is the last field, and what follows it
//! is ignored.

use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::{MAX_FORM_BYTES, MAX_FORM_FIELDS};
use bytes::{Buf, Bytes, BytesMut};

/// One field before the file, its name in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub value: String,
}

/// What came before the file's first byte.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    pub fields: Vec<Field>,
    /// Of the file, as the browser calls it.
    pub filename: String,
    /// Of the file, as the browser sees it.
    pub content_type: Option<String>,
}

/// A form on its way in.
#[derive(Debug)]
pub struct FormReader {
    /// CR, LF, two hyphens and the boundary: what ends every part.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    stage: Stage,
    form: Form,
    /// Bytes of everything that is not the file.
    taken: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first boundary.
    Preamble,
    /// At a part's headers.
    Head,
    Value {
        name: String,
    },
    File,
    Ended,
}

impl FormReader {
    /// For a request with this `Content-Type`.
    ///
    /// Errors: `MalformedPOSTRequest` unless that is a form with a boundary.
    pub fn new(content_type: &str) -> S3Result<Self> {
        let boundary =
            parameter(content_type, "boundary").filter(|boundary| (1..=70).contains(&boundary.len()));
        let boundary = boundary.ok_or_else(malformed)?;
        Ok(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line before it: with one, all are alike.
            buffer: BytesMut::from("\r\n"),
            stage: Stage::Preamble,
            form: Form::default(),
            taken: 0,
        })
    }

    pub fn push(&mut self, data: &[u8]) {
        if self.stage != Stage::Ended {
            self.buffer.extend_from_slice(data);
        }
    }

    /// The form, once the file begins.
    ///
    /// Errors: it is malformed, too long, or has no file.
    pub fn form(&mut self) -> S3Result<Option<Form>> {
        while self.stage != Stage::File {
            if self.taken + self.buffer.len().min(MAX_FORM_BYTES + 1) > MAX_FORM_BYTES && !self.ends_soon() {
                return Err(S3Error::new(S3Code::MaxPostPreDataLengthExceeded));
            }
            match self.step()? {
                true => {}
                false => return Ok(None),
            }
        }
        Ok(Some(std::mem::take(&mut self.form)))
    }

    /// Whether what is there holds the end of what comes before the file; the file itself may be there too.
    fn ends_soon(&self) -> bool {
        let ahead = &self.buffer[..self.buffer.len().min(MAX_FORM_BYTES.saturating_sub(self.taken))];
        match self.stage {
            Stage::Head => find(ahead, b"\r\n\r\n").is_some(),
            _ => find(ahead, &self.delimiter).is_some(),
        }
    }

    /// One step towards the file; false if more bytes are needed.
    fn step(&mut self) -> S3Result<bool> {
        match &self.stage {
            Stage::Preamble => {
                let Some(at) = find(&self.buffer, &self.delimiter) else { return Ok(false) };
                if at != 0 {
                    return Err(malformed());
                }
                self.after_delimiter(at)
            }
            Stage::Head => {
                let Some(end) = find(&self.buffer, b"\r\n\r\n") else { return Ok(false) };
                let head = self.take(end, 4);
                self.begin_part(&head)?;
                Ok(true)
            }
            Stage::Value { .. } => {
                let Some(at) = find(&self.buffer, &self.delimiter) else { return Ok(false) };
                // What follows the delimiter says whether more parts come: it must be there too.
                if self.buffer.len() < at + self.delimiter.len() + 2 {
                    return Ok(false);
                }
                let value = self.buffer[..at].to_vec();
                let Stage::Value { name } = std::mem::replace(&mut self.stage, Stage::Head) else {
                    return Err(malformed());
                };
                let value = String::from_utf8(value).map_err(|error| malformed().source(error))?;
                if self.form.fields.len() == MAX_FORM_FIELDS {
                    return Err(S3Error::new(S3Code::MaxPostPreDataLengthExceeded));
                }
                self.form.fields.push(Field { name, value });
                self.after_delimiter(at)
            }
            Stage::File => Ok(true),
            Stage::Ended => Err(S3Error::with(
                S3Code::InvalidArgument,
                "POST requires exactly one file upload per request.",
            )),
        }
    }

    /// Goes past a delimiter at `at`: to the next part, or to the end.
    fn after_delimiter(&mut self, at: usize) -> S3Result<bool> {
        let end = at + self.delimiter.len();
        let Some(next) = self.buffer.get(end..end + 2) else { return Ok(false) };
        self.stage = match next {
            b"\r\n" => Stage::Head,
            b"--" => Stage::Ended,
            _ => return Err(malformed()),
        };
        self.take(end, 2);
        Ok(true)
    }

    fn begin_part(&mut self, head: &[u8]) -> S3Result<()> {
        let head = std::str::from_utf8(head).map_err(|error| malformed().source(error))?;
        let (mut name, mut filename, mut content_type) = (None, None, None);
        for line in head.split("\r\n") {
            let (header, value) = line.split_once(':').ok_or_else(malformed)?;
            if header.eq_ignore_ascii_case("content-disposition") {
                name = parameter(value, "name");
                filename = parameter(value, "filename");
            } else if header.eq_ignore_ascii_case("content-type") {
                content_type = Some(value.trim().to_owned());
            }
        }
        let name = name.ok_or_else(malformed)?.to_ascii_lowercase();
        self.stage = if name == "file" {
            self.form.filename = filename.unwrap_or_default();
            self.form.content_type = content_type;
            Stage::File
        } else {
            Stage::Value { name }
        };
        Ok(())
    }

    fn take(&mut self, len: usize, skip: usize) -> BytesMut {
        let taken = self.buffer.split_to(len);
        self.buffer.advance(skip);
        self.taken += len + skip;
        taken
    }

    /// The file's next bytes. Empty while more must come; `None` at its end.
    pub fn file(&mut self) -> Option<Bytes> {
        match self.stage {
            Stage::File => {}
            _ => return None,
        }
        if let Some(at) = find(&self.buffer, &self.delimiter) {
            let last = self.buffer.split_to(at).freeze();
            // Only once: the next call says that this was all.
            self.buffer.clear();
            self.stage = Stage::Ended;
            return if last.is_empty() { None } else { Some(last) };
        }
        // The delimiter may straddle two pieces.
        let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
        Some(self.buffer.split_to(safe).freeze())
    }

    /// Whether the file's end was seen.
    pub fn is_whole(&self) -> bool {
        self.stage == Stage::Ended
    }
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedPOSTRequest)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    // The first byte is a CR, which is rare in what is uploaded.
    while let Some(at) = haystack.get(from..)?.iter().position(|byte| *byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A parameter of a header such as `form-data; name="key"`. Browsers escape a quote as `%22` (WHATWG) or by a backslash.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = value.split_once(';').unwrap_or((value, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.trim_start().trim_start_matches(';');
    }
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value.replace("%22", "\""), &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                quote @ ('"' | '\\') => value.push(quote),
                // Of a path as old browsers send it.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    /// Reads a body in pieces of this length: the form and the file.
    fn read(body: &[u8], piece: usize) -> Result<(Form, Vec<u8>), S3Code> {
        let mut reader = FormReader::new(TYPE).map_err(|error| error.code())?;
        let (mut form, mut file) = (None, Vec::new());
        for data in body.chunks(piece) {
            reader.push(data);
            if form.is_none() {
                form = reader.form().map_err(|error| error.code())?;
            }
            while form.is_some()
                && let Some(data) = reader.file()
                && !data.is_empty()
            {
                file.extend_from_slice(&data);
            }
        }
        match form {
            Some(form) if reader.is_whole() => Ok((form, file)),
            _ => Err(S3Code::IncompleteBody),
        }
    }

    fn part(head: &str, value: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    }

    #[test]
    fn fields_and_file_are_the_same_however_they_arrive() {
        let file = "line\r\n--X\r\n--XY data \r\r\n-";
        let body = part("name=\"Key\"", "a/${filename}")
            + &part("name=x-amz-meta-a", "")
            + "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\a \\\"b%22.txt\"\r\n\
               Content-Type: text/plain\r\n\r\n"
            + file
            + "\r\n--XX\r\nContent-Disposition: form-data; name=\"late\"\r\n\r\nignored\r\n--XX--\r\n";
        let expected = Form {
            fields: vec![
                Field { name: "key".into(), value: "a/${filename}".into() },
                Field { name: "x-amz-meta-a".into(), value: String::new() },
            ],
            filename: "C:\\a \"b\".txt".into(),
            content_type: Some("text/plain".into()),
        };
        for piece in [1, 2, 3, 5, 7, 16, 64, 4096] {
            let (form, read) = read(body.as_bytes(), piece).unwrap();
            assert_eq!(form, expected, "{piece}");
            assert_eq!(String::from_utf8_lossy(&read), file, "{piece}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let file = part("name=\"file\"", "x");
        let cases = [
            ("x".to_owned() + &file + "--XX--", S3Code::MalformedPOSTRequest),
            ("--XXy\r\n".to_owned(), S3Code::MalformedPOSTRequest),
            ("--XX\r\nno header\r\n\r\nx\r\n--XX--".to_owned(), S3Code::MalformedPOSTRequest),
            (part("filename=\"a\"", "x") + "--XX--", S3Code::MalformedPOSTRequest),
            (part("name=\"key\"", "x") + "--XX--", S3Code::InvalidArgument),
            (file.trim_end().to_owned(), S3Code::IncompleteBody),
            (part("name=\"key\"", "x"), S3Code::IncompleteBody),
            (part("name=\"a\"", &"x".repeat(MAX_FORM_BYTES)) + &file, S3Code::MaxPostPreDataLengthExceeded),
            (
                format!("--XX\r\nA: {}\r\n\r\n", "x".repeat(MAX_FORM_BYTES)),
                S3Code::MaxPostPreDataLengthExceeded,
            ),
            (
                part("name=\"a\"", "").repeat(MAX_FORM_FIELDS + 1) + &file + "--XX--",
                S3Code::MaxPostPreDataLengthExceeded,
            ),
        ];
        for (body, code) in cases {
            for piece in [7, 1 << 20] {
                let start: String = body.chars().take(60).collect();
                assert_eq!(read(body.as_bytes(), piece).err(), Some(code), "{start}");
            }
        }
        for content_type in ["multipart/form-data", "multipart/form-data; boundary=", "text/plain; charset=x"]
        {
            assert!(FormReader::new(content_type).is_err(), "{content_type}");
        }
        // A file of any size beside fields of almost the most.
        let much = part("name=\"a\"", &"x".repeat(MAX_FORM_BYTES - 500))
            + &part("name=\"file\"", &"y".repeat(1 << 20));
        let (_, file) = read((much + "--XX--").as_bytes(), 1 << 22).unwrap();
        assert_eq!(file.len(), 1 << 20);
    }
}
