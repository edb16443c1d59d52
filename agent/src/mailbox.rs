//! What a Sync's task is told: a mailbox that merges messages, so that it is bounded by nature and
//! the newest news always wins.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use plan::object::ObjectId;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::api::sync::Sync;

/// Everything that arrived since the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// The Sync as it is now, if it changed.
    pub(crate) sync: Option<Arc<Sync>>,
    /// Somebody asked for a look at the repository, at this moment.
    pub(crate) asked: Option<Instant>,
    /// Objects whose live state changed.
    pub(crate) touched: BTreeSet<ObjectId>,
}

impl News {
    /// Whether nothing arrived.
    pub(crate) fn is_empty(&self) -> bool {
        self.sync.is_none() && self.asked.is_none() && self.touched.is_empty()
    }
}

/// The mailbox of one Sync's task.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    news: Mutex<News>,
    bell: Notify,
}

impl Mailbox {
    /// The Sync was changed.
    pub(crate) fn changed(&self, sync: Arc<Sync>) {
        self.post(|news| news.sync = Some(sync));
    }

    /// Somebody asks for a look at the repository now.
    pub(crate) fn ask(&self) {
        self.post(|news| news.asked = Some(Instant::now()));
    }

    /// An object changed.
    pub(crate) fn touch(&self, id: &ObjectId) {
        self.post(|news| {
            news.touched.insert(id.clone());
        });
    }

    /// Waits until there is news.
    pub(crate) async fn wait(&self) {
        while self.peek(News::is_empty) {
            self.bell.notified().await;
        }
    }

    /// Waits for the next message, without taking it. May return for one that was taken already.
    pub(crate) async fn heard(&self) {
        self.bell.notified().await;
    }

    /// Takes all news.
    pub(crate) fn take(&self) -> News {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether something arrived that makes the running sync outdated.
    pub(crate) fn supersedes(&self) -> bool {
        self.peek(|news| news.sync.is_some() || news.asked.is_some())
    }

    fn peek<T>(&self, look: impl FnOnce(&News) -> T) -> T {
        look(&self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn post(&self, write: impl FnOnce(&mut News)) {
        write(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_merged_and_none_is_lost() {
        let mailbox = Mailbox::default();
        let id = ObjectId::new("", "ConfigMap", Some("a"), "b");
        mailbox.touch(&id);
        mailbox.touch(&id);
        assert!(
            !mailbox.supersedes(),
            "a touched object makes no plan outdated"
        );
        mailbox.ask();
        assert!(mailbox.supersedes());
        mailbox.wait().await;
        let news = mailbox.take();
        assert_eq!(news.touched.len(), 1);
        assert!(news.asked.is_some() && news.sync.is_none());
        assert!(mailbox.take().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn waits_until_there_is_news() {
        let mailbox = Arc::new(Mailbox::default());
        // A bell that was rung for news that are taken already wakes nobody.
        mailbox.ask();
        drop(mailbox.take());
        let pause = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(pause, mailbox.wait()).await.is_err());
        let writer = Arc::clone(&mailbox);
        let later = tokio::spawn(async move { writer.ask() });
        tokio::time::timeout(pause, mailbox.wait()).await.unwrap();
        later.await.unwrap();
    }
}
