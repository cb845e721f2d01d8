//! A lifecycle configuration, as it is kept and shown.

use crate::http_date;
use crate::xml::XmlWriter;

/// A bucket's rules. Where several say something of one thing, the earliest counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub id: String,
    pub filter: Filter,
    pub enabled: bool,
    pub expiration: Option<Expiration>,
    pub noncurrent: Option<Noncurrent>,
    /// Days after which an unfinished upload is aborted.
    pub abort_days: Option<u32>,
}

/// What a rule is about: what all of these hold for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub form: FilterForm,
    pub prefix: Option<String>,
    pub tags: Vec<(String, String)>,
    pub larger_than: Option<u64>,
    pub smaller_than: Option<u64>,
}

/// How it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilterForm {
    /// A `Prefix` of the rule itself, as before there were filters.
    Legacy,
    #[default]
    One,
    And,
}

/// What becomes of newest versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// After they were made.
    Days(u32),
    /// Midnight of a day.
    Date(u64),
    /// Delete markers with nothing behind them go, or not.
    LoneMarkers(bool),
}

/// What becomes of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noncurrent {
    /// After a newer one was made.
    pub days: u32,
    /// So many of the newest of them stay.
    pub keep: Option<u32>,
}

impl Lifecycle {
    /// The ids in use; a rule may be without one until it is kept.
    pub fn name_rules(&mut self, mut new_id: impl FnMut() -> String) {
        self.rules.iter_mut().filter(|rule| rule.id.is_empty()).for_each(|rule| rule.id = new_id());
    }

    pub fn xml(&self) -> XmlWriter {
        let mut xml = XmlWriter::new("LifecycleConfiguration");
        for rule in &self.rules {
            xml.start("Rule");
            xml.text("ID", &rule.id);
            rule.filter.write(&mut xml);
            xml.text("Status", if rule.enabled { "Enabled" } else { "Disabled" });
            if let Some(expiration) = rule.expiration {
                xml.start("Expiration");
                match expiration {
                    Expiration::Days(days) => xml.value("Days", days),
                    Expiration::Date(ms) => xml.text("Date", &http_date::iso(ms)),
                    Expiration::LoneMarkers(go) => xml.value("ExpiredObjectDeleteMarker", go),
                }
                xml.end();
            }
            if let Some(noncurrent) = rule.noncurrent {
                xml.start("NoncurrentVersionExpiration");
                xml.value("NoncurrentDays", noncurrent.days);
                if let Some(keep) = noncurrent.keep {
                    xml.value("NewerNoncurrentVersions", keep);
                }
                xml.end();
            }
            if let Some(days) = rule.abort_days {
                xml.start("AbortIncompleteMultipartUpload");
                xml.value("DaysAfterInitiation", days);
                xml.end();
            }
            xml.end();
        }
        xml
    }
}

impl Filter {
    fn write(&self, xml: &mut XmlWriter) {
        if self.form == FilterForm::Legacy {
            xml.text("Prefix", self.prefix.as_deref().unwrap_or_default());
            return;
        }
        xml.start("Filter");
        if self.form == FilterForm::And {
            xml.start("And");
        }
        xml.optional("Prefix", self.prefix.as_deref());
        for (name, value) in &self.tags {
            xml.start("Tag");
            xml.text("Key", name);
            xml.text("Value", value);
            xml.end();
        }
        if let Some(bytes) = self.larger_than {
            xml.value("ObjectSizeGreaterThan", bytes);
        }
        if let Some(bytes) = self.smaller_than {
            xml.value("ObjectSizeLessThan", bytes);
        }
        if self.form == FilterForm::And {
            xml.end();
        }
        xml.end();
    }
}
