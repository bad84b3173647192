//! How many streams may be open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::access::Caller;
use crate::error::{ApiError, Code};
use crate::records::By;

/// Streams of one credential: one for each visible tab of a person with many windows.
pub(super) const PER_CALLER: usize = 16;

/// Streams in all. A stream costs a connection and a few KiB.
pub(super) const IN_ALL: usize = 256;

/// After this a page that was closed is noticed, as a rule.
const TRY_AGAIN: std::time::Duration = std::time::Duration::from_secs(10);

type Key = (By, Option<String>);

/// Who has how many.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<Key, usize>>>);

/// One place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    key: Key,
}

impl Places {
    /// Streams that are open.
    pub(super) fn taken(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    pub(super) fn take(&self, caller: &Caller) -> Result<Place, ApiError> {
        let key = (caller.by, caller.who.clone());
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |what: String| Err(ApiError::new(Code::TooManyStreams, what).retry_after(TRY_AGAIN));
        if taken.values().sum::<usize>() >= IN_ALL {
            return full(format!("{IN_ALL} streams are open"));
        }
        let own = taken.entry(key.clone()).or_default();
        if *own >= PER_CALLER {
            return full(format!("{PER_CALLER} streams of this credential are open"));
        }
        *own += 1;
        drop(taken);
        Ok(Place { places: self.clone(), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Scope;

    fn caller(who: usize) -> Caller {
        Caller { by: By::Session, who: Some(who.to_string()), from: None, scope: Scope::Admin }
    }

    #[test]
    fn streams_are_counted_by_credential_and_in_all() {
        let places = Places::default();
        let mut taken: Vec<_> = (0..PER_CALLER).map(|_| places.take(&caller(0)).unwrap()).collect();
        assert_eq!(places.take(&caller(0)).unwrap_err().code, Code::TooManyStreams);
        taken.pop();
        taken.push(places.take(&caller(0)).unwrap());
        taken.extend((PER_CALLER..IN_ALL).map(|n| places.take(&caller(n)).unwrap()));
        assert_eq!(places.take(&caller(IN_ALL)).unwrap_err().code, Code::TooManyStreams);
        taken.clear();
        assert!(places.take(&caller(0)).is_ok());
        assert!(places.0.lock().unwrap().is_empty(), "nothing is left of who has gone");
    }
}
