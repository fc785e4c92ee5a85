/*
 * vthread/file.h - files: opening, reading and writing at an offset, what
 * is known of them, directories.
 *
 *     int fd;
 *     char head[512];
 *     size_t n;
 *     int err = vthread_open("data", O_RDONLY, 0, &fd);
 *     if (err == 0) {
 *         err = vthread_pread(fd, head, sizeof head, 0, &n);
 *         vthread_close(fd);
 *     }
 *
 * A disk tells nobody when it is ready, so these calls take time.  The
 * thread makes them itself, on its own stack and OS thread; while one lasts
 * the other threads of its carrier go on elsewhere.  Data that the kernel
 * has in memory costs one system call.  What vthread_pread and its kin must
 * fetch from the disk is asked for through io_uring where the kernel has
 * it: then the thread parks, and no OS thread waits.  VTHREAD_IO_URING=off
 * in the environment switches that off.
 *
 * For reading and writing at the position of the file there are
 * vthread_read and its kin in vthread/io.h, and vthread_close.
 *
 * All functions return 0 or a positive errno value: what the system call
 * reports (EINTR never), ENOMEM, and where one has to wait before it can
 * begin, or parks, ECANCELED and ETIMEDOUT.  They block the virtual thread;
 * on a platform thread, the OS thread.  A call that has begun in place is
 * not given up: neither a deadline nor vthread_interrupt ends it.  One that
 * was handed to io_uring is taken back if it has not begun; the thread
 * returns when the kernel has let go of the buffer.
 */
#ifndef VTHREAD_FILE_H
#define VTHREAD_FILE_H

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

struct statx; /* of <sys/stat.h>, with _GNU_SOURCE */

/* ---- Opening ------------------------------------------------------------ */

/*
 * As open(2) and openat(2), always close-on-exec; the descriptor is stored
 * in *fd.  mode counts with O_CREAT and O_TMPFILE only.  A FIFO is waited
 * for until the other end is opened, unless with O_NONBLOCK: that holds an
 * OS thread and is not cancellable.
 */
VTHREAD_API int vthread_open(const char *path, int flags, mode_t mode,
                             int *fd);
VTHREAD_API int vthread_openat(int directory, const char *path, int flags,
                               mode_t mode, int *fd);

/* ---- Reading and writing ------------------------------------------------ */

/*
 * As pread(2) and so on.  *done is the number of bytes transferred, stored
 * with result 0 only.  A read takes all that was asked for, unless the file
 * ends before, the disk fails, or the thread is cancelled or its time is
 * over in the middle: then what has been read counts.
 *
 * Buffers may be anywhere, on the stack as well.
 *
 * Returns  besides the above EINVAL for an offset or a count below 0.
 */
VTHREAD_API int vthread_pread(int fd, void *buffer, size_t size_bytes,
                              off_t offset, size_t *done);
VTHREAD_API int vthread_pread_until(int fd, void *buffer, size_t size_bytes,
                                    off_t offset, size_t *done,
                                    uint64_t deadline_ns);
VTHREAD_API int vthread_pwrite(int fd, const void *buffer, size_t size_bytes,
                               off_t offset, size_t *done);
VTHREAD_API int vthread_pwrite_until(int fd, const void *buffer,
                                     size_t size_bytes, off_t offset,
                                     size_t *done, uint64_t deadline_ns);
VTHREAD_API int vthread_preadv(int fd, const struct iovec *iov, int count,
                               off_t offset, size_t *done);
VTHREAD_API int vthread_preadv_until(int fd, const struct iovec *iov,
                                     int count, off_t offset, size_t *done,
                                     uint64_t deadline_ns);
VTHREAD_API int vthread_pwritev(int fd, const struct iovec *iov, int count,
                                off_t offset, size_t *done);
VTHREAD_API int vthread_pwritev_until(int fd, const struct iovec *iov,
                                      int count, off_t offset, size_t *done,
                                      uint64_t deadline_ns);

/* As fsync(2), fdatasync(2) and ftruncate(2). */
VTHREAD_API int vthread_fsync(int fd);
VTHREAD_API int vthread_fdatasync(int fd);
VTHREAD_API int vthread_ftruncate(int fd, off_t size_bytes);

/* ---- What is known of a file -------------------------------------------- */

/* As stat(2) and so on, and statx(2). */
VTHREAD_API int vthread_stat(const char *path, struct stat *status);
VTHREAD_API int vthread_lstat(const char *path, struct stat *status);
VTHREAD_API int vthread_fstat(int fd, struct stat *status);
VTHREAD_API int vthread_fstatat(int directory, const char *path,
                                struct stat *status, int flags);
VTHREAD_API int vthread_statx(int directory, const char *path, int flags,
                              unsigned mask, struct statx *status);

/* ---- Names -------------------------------------------------------------- */

/* As rename(2), unlink(2), mkdir(2) and rmdir(2). */
VTHREAD_API int vthread_rename(const char *from, const char *to);
VTHREAD_API int vthread_unlink(const char *path);
VTHREAD_API int vthread_mkdir(const char *path, mode_t mode);
VTHREAD_API int vthread_rmdir(const char *path);

/* ---- Directories -------------------------------------------------------- */

/*
 * A directory that is being read, by one thread at a time:
 *
 *     vthread_dir_t *dir;
 *     const struct dirent *entry;
 *     int err = vthread_opendir(path, &dir);
 *     if (err != 0)
 *         return err;
 *     while ((err = vthread_readdir(dir, &entry)) == 0 && entry)
 *         puts(entry->d_name);
 *     vthread_closedir(dir);
 */
typedef struct vthread_dir vthread_dir_t;

/* Opens it.  Ownership: the caller's, until vthread_closedir. */
VTHREAD_API int vthread_opendir(const char *path, vthread_dir_t **dir);

/*
 * Stores the next entry in *entry, NULL after the last one.  "." and ".."
 * are entries; the order is the file system's.  Entries are fetched by the
 * hundred.
 *
 * Ownership  the entry is the directory's, until the next call.
 */
VTHREAD_API int vthread_readdir(vthread_dir_t *dir,
                                const struct dirent **entry);

/* Its descriptor, for vthread_openat and vthread_fstatat.  Blocks never. */
VTHREAD_API int vthread_dirfd(const vthread_dir_t *dir);

/* Closes and frees it.  Returns 0 or the error of close(2). */
VTHREAD_API int vthread_closedir(vthread_dir_t *dir);

#ifdef __cplusplus
}
#endif

#endif
