//! Keeps one copy of each text that repeats: names of drivers, nodes, classes and finalizers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use program::threads::lock;

/// The smallest number of texts at which unused ones are looked for.
const PRUNE_MIN: usize = 256;

/// The most bytes of a text that is kept. Names of the API have at most 253, and finalizers 317. As
/// pruning counts texts and not bytes, larger ones that no record holds could fill the memory.
const KEPT_MAX: usize = 512;

/// A set of shared texts. A text that no record holds any more goes at the next prune, so names of
/// nodes that come and go do not pile up.
#[derive(Debug, Default)]
pub struct Interner(Mutex<Texts>);

#[derive(Debug, Default)]
struct Texts {
    texts: HashSet<Arc<str>>,
    /// Pruning costs a walk over all texts, so it happens when their number has doubled.
    prune_at: usize,
}

impl Interner {
    /// The shared copy of `text`, or a copy of its own for one that is larger than any name.
    #[must_use]
    pub fn intern(&self, text: &str) -> Arc<str> {
        if text.len() > KEPT_MAX {
            return Arc::from(text);
        }
        let mut inner = lock(&self.0);
        if let Some(shared) = inner.texts.get(text) {
            return Arc::clone(shared);
        }
        if inner.texts.len() >= inner.prune_at.max(PRUNE_MIN) {
            inner.texts.retain(|shared| Arc::strong_count(shared) > 1);
            inner.prune_at = inner.texts.len().saturating_mul(2);
        }
        let shared: Arc<str> = Arc::from(text);
        inner.texts.insert(Arc::clone(&shared));
        shared
    }

    /// The number of texts, unused ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).texts.len()
    }

    /// Whether no text is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
