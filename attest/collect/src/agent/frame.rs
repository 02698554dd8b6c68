//! Frames: u32 little-endian length, then that many bytes of JSON.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// Read at most so much at once: a length alone allocates nothing.
const STEP: usize = 64 << 10;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed the connection between two frames.
    #[error("the connection was closed")]
    Closed,
    /// The length is above the cap.
    #[error("a frame of {length} bytes is above the cap of {cap}")]
    TooLarge {
        /// Bytes announced.
        length: usize,
        /// Bytes allowed.
        cap: usize,
    },
    /// Not the JSON that is expected.
    #[error("a frame is not what it should be: {0}")]
    Json(serde_json::Error),
    /// The connection failed, or was closed within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one frame of at most `cap` bytes.
pub fn read_frame<T: DeserializeOwned>(from: &mut impl Read, cap: usize) -> Result<T, FrameError> {
    let mut length = [0; 4];
    let first = loop {
        match from.read(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => break done?,
        }
    };
    if first == 0 {
        return Err(FrameError::Closed);
    }
    from.read_exact(length.get_mut(first..).unwrap_or_default())?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > cap {
        return Err(FrameError::TooLarge { length, cap });
    }
    let mut body = Vec::new();
    while body.len() < length {
        let step = (length - body.len()).min(STEP);
        let read = from.by_ref().take(step as u64).read_to_end(&mut body)?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    serde_json::from_slice(&body).map_err(FrameError::Json)
}

/// Writes one frame of at most `cap` bytes.
pub fn write_frame(to: &mut impl Write, value: &impl Serialize, cap: usize) -> Result<(), FrameError> {
    let body = serde_json::to_vec(value).map_err(FrameError::Json)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= cap);
    let length = length.ok_or(FrameError::TooLarge { length: body.len(), cap })?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    to.write_all(&frame)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u32>, FrameError> {
        read_frame(&mut &*bytes, 64)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &[1_u32, 2], 64).unwrap();
        assert_eq!(bytes, b"\x05\0\0\0[1,2]");
        assert_eq!(read(&bytes).unwrap(), [1, 2]);
    }

    #[test]
    fn each_wrong_frame_is_refused() {
        assert!(matches!(read(b""), Err(FrameError::Closed)));
        assert!(matches!(read(b"\x05\0"), Err(FrameError::Io(_))));
        assert!(matches!(read(b"\x05\0\0\0[1,"), Err(FrameError::Io(_))));
        assert!(matches!(read(b"\x05\0\0\0[1,}]"), Err(FrameError::Json(_))));
        assert!(matches!(read(b"\xff\xff\xff\xff[1,2]"), Err(FrameError::TooLarge { length: 0xffff_ffff, cap: 64 })));
        assert!(matches!(read(b"\x41\0\0\0[1,2]"), Err(FrameError::TooLarge { .. })));
        let long = vec![1_u32; 64];
        assert!(matches!(write_frame(&mut Vec::new(), &long, 64), Err(FrameError::TooLarge { .. })));
    }
}
