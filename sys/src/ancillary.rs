//! Descriptors passed over Unix sockets (`SCM_RIGHTS`).
#![allow(unsafe_code)]

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The most descriptors one message carries: the kernel's own limit, so control data is never cut off.
pub const MAX_FDS: usize = 253;

/// Sends `data` with `fds` in one message; `data` must not be empty on a stream.
///
/// # Errors
/// More than [`MAX_FDS`] descriptors, those of `sendmsg(2)`, or a stream that took only a part of `data`.
pub fn send_fds(socket: impl AsFd, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let rights = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    let sent = sendmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &[IoSlice::new(data)],
        rights,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    if sent < data.len() {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "only a part of the message was sent"));
    }
    Ok(())
}

/// Receives one message into `data`: the bytes' count (0 is the end of a stream) and the descriptors that
/// came along, close-on-exec.
///
/// # Errors
/// Those of `recvmsg(2)`; `InvalidData` when more than [`MAX_FDS`] descriptors came or a datagram was longer
/// than `data`. Descriptors received until then are closed.
pub fn recv_fds(socket: impl AsFd, data: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(data)];
    let message =
        recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        let ControlMessageOwned::ScmRights(received) = control else { continue };
        // SAFETY: the kernel has just opened these descriptors for this process and nothing else knows them.
        fds.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    if message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message was longer than expected"));
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    #[test]
    fn descriptors_arrive_with_their_data() {
        let (a, b) = UnixStream::pair().unwrap();
        let (first_reader, first_writer) = nix::unistd::pipe().unwrap();
        let (second_reader, second_writer) = nix::unistd::pipe().unwrap();
        send_fds(&a, b"two", &[first_reader.as_fd(), second_reader.as_fd()]).unwrap();
        drop((first_reader, second_reader));
        let mut data = [0; 16];
        let (length, fds) = recv_fds(&b, &mut data).unwrap();
        assert_eq!(&data[..length], b"two");
        assert_eq!(fds.len(), 2);
        for (writer, reader, text) in [first_writer, second_writer]
            .into_iter()
            .zip(fds)
            .zip(["first", "second"])
            .map(|((writer, reader), text)| (writer, reader, text))
        {
            let flags = nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags, nix::libc::FD_CLOEXEC);
            File::from(writer).write_all(text.as_bytes()).unwrap();
            let mut read = String::new();
            File::from(reader).read_to_string(&mut read).unwrap();
            assert_eq!(read, text);
        }
    }

    #[test]
    fn data_alone_and_the_end_of_a_stream() {
        let (a, b) = UnixStream::pair().unwrap();
        send_fds(&a, b"x", &[]).unwrap();
        drop(a);
        let mut data = [0; 16];
        let (length, fds) = recv_fds(&b, &mut data).unwrap();
        assert_eq!((length, fds.len()), (1, 0));
        assert_eq!(recv_fds(&b, &mut data).unwrap().0, 0);
    }

    #[test]
    fn a_datagram_that_does_not_fit_is_an_error() {
        let (a, b) = UnixDatagram::pair().unwrap();
        send_fds(&a, b"too long", &[a.as_fd()]).unwrap();
        let error = recv_fds(&b, &mut [0; 3]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn as_many_descriptors_as_the_kernel_allows_and_no_more() {
        let (a, b) = UnixStream::pair().unwrap();
        let most = [a.as_fd(); MAX_FDS];
        send_fds(&a, b"m", &most).unwrap();
        assert_eq!(recv_fds(&b, &mut [0; 1]).unwrap().1.len(), MAX_FDS);
        let error = send_fds(&a, b"m", &[a.as_fd(); MAX_FDS + 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
