//! Data on stdout: a table for people, JSON for scripts.

use crate::cli::Format;
use crate::error::Error;
use serde::Serialize;
use std::io::Write;

/// Prints `value` as JSON, or the table that `rows` makes of it.
pub fn show<T: Serialize>(format: Format, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Error> {
    let text = match format {
        Format::Json => {
            let mut text = serde_json::to_string_pretty(value)
                .map_err(|error| Error::failed(format!("can't write the answer as JSON: {error}")))?;
            text.push('\n');
            text
        }
        Format::Table => table(value),
    };
    print(&text)
}

/// Prints text; a reader that has gone away (`| head`) is not an error.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("can't write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Columns aligned, two spaces between, with a line of headings.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(&mut headings.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// `name: value` lines, values aligned.
pub fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    fields.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_without_trailing_spaces() {
        let text = table(
            &["NAME", "SIZE"],
            &[vec!["a".into(), "1 GiB".into()], vec!["größer".into(), String::new()]],
        );
        assert_eq!(text, "NAME    SIZE\na       1 GiB\ngrößer\n");
    }
}
