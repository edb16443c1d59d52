//! One live line per running step, for people at a terminal.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Reporter, elapsed};

/// How often a live line shows a new elapsed time.
const TICK: Duration = Duration::from_millis(200);

/// Live lines with a spinner and elapsed time; finished steps scroll up as plain lines.
#[derive(Debug)]
pub struct Terminal {
    screen: MultiProgress,
    running: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Terminal {
    /// On standard error.
    pub fn new() -> Self {
        Self {
            screen: MultiProgress::new(),
            running: Mutex::default(),
        }
    }

    fn end(&self, step: &str, line: &str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = running.remove(step) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
        self.note(line);
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter for Terminal {
    fn started(&self, step: &str) {
        let bar = self.screen.add(ProgressBar::new_spinner());
        // The default style stays should the template ever be wrong; a test checks that it is not.
        if let Ok(style) = style() {
            bar.set_style(style);
        }
        bar.set_prefix(step.to_owned());
        bar.enable_steady_tick(TICK);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(step.to_owned(), bar);
    }

    fn progress(&self, step: &str, doing: &str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = running.get(step) {
            bar.set_message(doing.to_owned());
        }
    }

    fn finished(&self, step: &str, result: &str, took: Duration) {
        self.end(
            step,
            &format!("✓ {step:<22} {:>7}  {result}", elapsed(took)),
        );
    }

    fn failed(&self, step: &str, took: Duration) {
        self.end(step, &format!("✗ {step:<22} {:>7}  failed", elapsed(took)));
    }

    fn note(&self, text: &str) {
        // A terminal that went away must not end the work.
        drop(self.screen.println(text.trim_end()));
    }
}

fn style() -> Result<ProgressStyle, indicatif::style::TemplateError> {
    ProgressStyle::with_template("{spinner} {prefix:<22} {elapsed:>7}  {wide_msg}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn template_is_valid() {
        super::style().unwrap();
    }
}
