//! Work for all cores: each thread takes the next piece when it is done with one.
use std::{
    num::NonZero,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Does something with each of `pieces` on so many threads. After an error nothing more is begun.
///
/// # Errors
/// The first.
pub(crate) fn each<T, E: Send>(
    pieces: impl Iterator<Item = T> + Send,
    threads: NonZero<usize>,
    work: impl Fn(T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let (pieces, failed) = (Mutex::new(pieces), Mutex::new(None));
    let next = || if held(&failed).is_some() { None } else { held(&pieces).next() };
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                while let Some(piece) = next() {
                    if let Err(error) = work(piece) {
                        held(&failed).get_or_insert(error);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Whatever panicked with it in hand: the scope panics in the end.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_worked_on_once_and_after_an_error_none_is_begun() {
        let two = NonZero::new(2).unwrap();
        let seen = Mutex::new(Vec::new());
        let add = |piece| {
            held(&seen).push(piece);
            Ok::<(), u64>(())
        };
        assert_eq!(each(0..100, two, add), Ok(()));
        let mut all = held(&seen).clone();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<u64>>());
        let one = NonZero::<usize>::MIN;
        let begun = Mutex::new(0);
        let fails = |piece: u64| {
            *held(&begun) += 1;
            if piece == 3 { Err(piece) } else { Ok(()) }
        };
        assert_eq!((each(0..100, one, fails), *held(&begun)), (Err(3), 4));
    }
}
