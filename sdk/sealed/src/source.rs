//! Where sealed bytes come from: anything that can be read at a position, by several threads.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Positioned reads. Implement it for an object store by a range request.
pub trait ReadAt: Sync {
    /// Fills `buffer` from byte `offset` on; `UnexpectedEof` where there is not as much.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The length, bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there is no byte.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// How many bytes are best asked for at once. Neighbouring chunks are read together up to this
    /// size: 0, one chunk at a time, suits files; an object store wants some 8 MiB, because each
    /// request costs a round trip.
    fn request_size(&self) -> u64 {
        0
    }

    /// The file that this reads, where it is one: what is sealed from it is held to more
    /// ([`check_plain_file`](crate::check_plain_file)).
    fn as_file(&self) -> Option<&File> {
        None
    }
}

impl ReadAt for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn as_file(&self) -> Option<&File> {
        Some(self)
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.as_slice().len() as u64)
    }
}

macro_rules! by_reference {
    ($($pointer:ty where $($bound:ident)&&*;)*) => {$(
        impl<T: ?Sized $(+ $bound)*> ReadAt for $pointer {
            fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
                (**self).read_exact_at(buffer, offset)
            }
            fn len(&self) -> io::Result<u64> {
                (**self).len()
            }
            fn request_size(&self) -> u64 {
                (**self).request_size()
            }
            fn as_file(&self) -> Option<&File> {
                (**self).as_file()
            }
        }
    )*};
}
by_reference! {
    &T where ReadAt;
    Box<T> where ReadAt;
    Arc<T> where ReadAt && Send;
}

/// What is not a regular file, where [`open_regular`] was to open one.
#[derive(Debug, thiserror::Error)]
#[error("not a regular file: put what a pipe or a device gives into one first")]
pub struct NotRegular;

/// Opens a file for positioned reads. Anything else under that name, such as a pipe, which would be
/// waited for without end, is an error of kind `InvalidInput` that holds a [`NotRegular`], at once.
pub fn open_regular(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Without O_NONBLOCK the opening of a named pipe waits for a writer. Of a regular file it changes nothing.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, NotRegular))
}

/// Makes positioned reads of anything that can read and seek. Its reads wait for one another, so
/// several threads help with decrypting only.
pub struct Seekable<R> {
    inner: Mutex<R>,
}

impl<R: Read + Seek + Send> Seekable<R> {
    /// Takes `inner` over; from now on its position is this adapter's.
    pub fn new(inner: R) -> Self {
        Self { inner: Mutex::new(inner) }
    }

    /// Gives `inner` back.
    pub fn into_inner(self) -> R {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Read + Seek + Send> ReadAt for Seekable<R> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // A panic of another thread cannot leave a position behind that matters: each read seeks.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.seek(SeekFrom::Start(offset))?;
        inner.read_exact(buffer)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).seek(SeekFrom::End(0))
    }
}

/// A file whose aligned reads go past the page cache (`O_DIRECT`). Worth it where the storage is
/// faster than a copy out of the page cache, or where the file is read once and larger than memory.
pub struct DirectFile {
    direct: File,
    cached: File,
}

/// What `O_DIRECT` wants of addresses, offsets and lengths on every file system known. Ciphertext
/// begins at such an offset, and all chunks but the last have such a length.
pub(crate) const ALIGNMENT: usize = 4096;

impl DirectFile {
    /// Opens the file twice. An error of kind `InvalidInput` where the file system has no `O_DIRECT`.
    pub fn open(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
        let cached = open_regular(path)?;
        let direct = File::options().read(true).custom_flags(libc::O_DIRECT | libc::O_NONBLOCK).open(path)?;
        let identity = |file: &File| file.metadata().map(|m| (m.dev(), m.ino()));
        if identity(&direct)? != identity(&cached)? {
            return Err(io::Error::other("the file was replaced while it was opened"));
        }
        Ok(Self { direct, cached })
    }
}

impl ReadAt for DirectFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let aligned = buffer.as_ptr().addr().is_multiple_of(ALIGNMENT)
            && buffer.len().is_multiple_of(ALIGNMENT)
            && offset.is_multiple_of(ALIGNMENT as u64);
        let file = if aligned { &self.direct } else { &self.cached };
        FileExt::read_exact_at(file, buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        ReadAt::len(&self.cached)
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.cached)
    }
}

/// Copies what a pipe gives into an unnamed temporary file in `directory`, so that it can be read at
/// positions: nothing of a sealed file can be opened before its end, the index, is there. What is
/// copied is ciphertext. An error of kind `FileTooLarge` once more than `limit` bytes have come.
pub fn spool(pipe: impl Read, directory: &Path, limit: u64) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(directory)?;
    let copied = io::copy(&mut pipe.take(limit.saturating_add(1)), &mut file)?;
    if copied > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {limit} bytes came out of the pipe"),
        ));
    }
    file.flush()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Header;

    fn check(source: &(impl ReadAt + ?Sized)) {
        let mut buffer = [0; 3];
        assert_eq!(source.len().unwrap(), 10);
        assert!(!source.is_empty().unwrap());
        source.read_exact_at(&mut buffer, 7).unwrap();
        assert_eq!(buffer, [7, 8, 9]);
        for offset in [8, 10, u64::MAX] {
            assert!(source.read_exact_at(&mut buffer, offset).is_err(), "{offset}");
        }
        assert_eq!(source.read_exact_at(&mut buffer, 8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn every_source_reads_alike() {
        let bytes: Vec<u8> = (0..10).collect();
        check(bytes.as_slice());
        check(&bytes);
        check(&Arc::new(bytes.clone()));
        check(&(Box::new(bytes.clone()) as Box<dyn ReadAt>));
        let dynamic: &dyn ReadAt = &bytes;
        check(&dynamic);
        check(&Seekable::new(io::Cursor::new(bytes.clone())));
        let file = spool(bytes.as_slice(), &std::env::temp_dir(), 10).unwrap();
        check(&file);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, file) = (dir.path().join("pipe"), dir.path().join("file"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        std::fs::write(&file, b"0123456789").unwrap();
        for other in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
            let error = open_regular(other).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{}", other.display());
            assert!(error.into_inner().unwrap().is::<NotRegular>(), "{}", other.display());
            assert!(Header::peek_path(other).is_err() && DirectFile::open(other).is_err(), "{}", other.display());
        }
        assert_eq!(open_regular(&dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(ReadAt::len(&open_regular(&file).unwrap()).unwrap(), 10);
    }

    #[test]
    fn a_spool_has_a_limit() {
        let error = spool(io::repeat(0), &std::env::temp_dir(), 10).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(spool(io::repeat(0).take(10), &std::env::temp_dir(), 10).is_ok());
    }

    #[test]
    fn direct_reads_give_the_files_bytes() {
        let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let bytes: Vec<u8> = (0..20_000_u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let direct = match DirectFile::open(file.path()) {
            Ok(direct) => direct,
            Err(error) => return println!("skipped: no O_DIRECT on this file system: {error}"),
        };
        let mut space = vec![0; 3 * ALIGNMENT];
        let at = space.as_ptr().align_offset(ALIGNMENT);
        direct.read_exact_at(&mut space[at..at + 2 * ALIGNMENT], 4096).unwrap();
        assert_eq!(space[at..at + 2 * ALIGNMENT], bytes[4096..3 * 4096]);
        direct.read_exact_at(&mut space[at + 1..at + 101], 19_900).unwrap();
        assert_eq!(space[at + 1..at + 101], bytes[19_900..]);
    }
}
