/* Sees every call by which a process changes the files below one folder: preloaded into Python, it stands before the
 * functions of libc, so that the calls of Python, of SQLite and of anything else pass here.
 *
 * Each call has a number. A plan (`crash_arm`) says what happens at one of them: the process dies after it, writes a
 * part and dies, writes a part and goes on, or the call fails. What was done is recorded, with data, so that a disk
 * that loses what was not synced can be computed from it (disk.py). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { RECORD, KILL, TORN, SHORT, NOSPACE, IOERROR };
enum { CREATE, EMPTY, RESIZE, WRITE, RENAME, LINK, SYMLINK, UNLINK, RMDIR, MKDIR, SYNC, CHMOD, TIMES, NOTE };

/* What precedes the two texts and the data of a record; Python reads it with struct (recording.py). */
struct head {
    int64_t number, inode, offset, modified_ns, mode, data_bytes;
    int32_t what, is_change, path_bytes, other_bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_bytes;
static int is_armed, kind, log_fd = -1;
static long at, count;

#define REAL(name) ({ static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); real; })

void crash_arm(const char *folder, int what, long number, int log) {
    strncpy(root, folder, sizeof root - 1);
    root_bytes = strlen(root);
    kind = what; at = number; log_fd = log; count = 0; is_armed = 1;
}
void crash_disarm(void) { is_armed = 0; }
long crash_count(void) { return count; }

static void put(const void *data, size_t size) {
    const char *next = data;
    while (size && log_fd >= 0) {
        long done = syscall(SYS_write, log_fd, next, size);
        if (done <= 0) break;
        next += done; size -= (size_t)done;
    }
}

static int is_below(const char *path) {
    return !strncmp(path, root, root_bytes) && (path[root_bytes] == '/' || !path[root_bytes]);
}

static int of_fd(int fd, char *out) {
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(name, out, PATH_MAX - 1);
    if (size < 0) return 0;
    out[size] = 0;
    return is_below(out);
}

static int of_path(int folder, const char *path, char *out) {
    if (!is_armed || !path) return 0;
    if (path[0] == '/') {
        strncpy(out, path, PATH_MAX - 1);
        out[PATH_MAX - 1] = 0;
        return is_below(out);
    }
    char base[PATH_MAX] = "";
    if (folder == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
    else if (!of_fd(folder, base)) return 0;
    if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    return is_below(out);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* The number of the call that begins, with the lock held. */
static long begin(void) { pthread_mutex_lock(&lock); return ++count; }

/* Whether the call has to fail; sets errno. `needs_space`: a full disk makes it fail too. */
static int fails(long number, int needs_space) {
    if (kind == IOERROR && number == at) { errno = EIO; return 1; }
    if (kind == NOSPACE && number >= at && needs_space) { errno = ENOSPC; return 1; }
    return 0;
}

/* Writes a record. `info`: of the file that was changed, NULL if there is none any more. */
static void note(struct head head, const struct stat *info, const char *path, const char *other, const void *data) {
    if (info) {
        head.inode = (int64_t)info->st_ino;
        head.modified_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
        head.mode = info->st_mode;
    }
    head.path_bytes = path ? (int32_t)strlen(path) : 0;
    head.other_bytes = other ? (int32_t)strlen(other) : 0;
    put(&head, sizeof head);
    put(path, (size_t)head.path_bytes);
    put(other, (size_t)head.other_bytes);
    put(data, (size_t)head.data_bytes);
}

/* Ends a call: releases the lock, or ends the process if that is the plan. */
static void end(long number, int error) {
    if ((kind == KILL || kind == TORN) && number == at) die();
    pthread_mutex_unlock(&lock);
    errno = error;
}

static void end_of_path(long number, int what, int is_change, const char *path, const char *other) {
    int error = errno;
    struct stat info;
    int is_there = !lstat(path, &info);
    struct head head = {.number = number, .what = what, .is_change = is_change};
    note(head, is_there ? &info : NULL, path, other, NULL);
    end(number, error);
}

static void end_of_fd(long number, int what, int is_change, int fd, const char *path, off_t offset, const void *data,
                      ssize_t size) {
    int error = errno;
    struct stat info;
    int is_there = !fstat(fd, &info);
    struct head head = {.number = number, .what = what, .is_change = is_change, .offset = offset,
                        .data_bytes = size > 0 ? size : 0};
    note(head, is_there ? &info : NULL, path, NULL, data);
    end(number, error);
}

void crash_note(const char *text) {
    pthread_mutex_lock(&lock);
    note((struct head){.number = count, .what = NOTE}, NULL, NULL, text, NULL);
    pthread_mutex_unlock(&lock);
}

/* Calls with one path. */
#define PATH_CALL(expression, what, folder, path, needs_space) \
    char name_[PATH_MAX]; \
    if (!of_path(folder, path, name_)) return expression; \
    long number_ = begin(); \
    int result_ = fails(number_, needs_space) ? -1 : expression; \
    end_of_path(number_, what, result_ == 0, name_, NULL); \
    return result_

int unlink(const char *path) { PATH_CALL(REAL(unlink)(path), UNLINK, AT_FDCWD, path, 0); }
int rmdir(const char *path) { PATH_CALL(REAL(rmdir)(path), RMDIR, AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) {
    PATH_CALL(REAL(unlinkat)(folder, path, flags), flags & AT_REMOVEDIR ? RMDIR : UNLINK, folder, path, 0);
}
int remove(const char *path) { PATH_CALL(REAL(remove)(path), UNLINK, AT_FDCWD, path, 0); }
int mkdir(const char *path, mode_t mode) { PATH_CALL(REAL(mkdir)(path, mode), MKDIR, AT_FDCWD, path, 1); }
int mkdirat(int folder, const char *path, mode_t mode) {
    PATH_CALL(REAL(mkdirat)(folder, path, mode), MKDIR, folder, path, 1);
}
int chmod(const char *path, mode_t mode) { PATH_CALL(REAL(chmod)(path, mode), CHMOD, AT_FDCWD, path, 0); }
int fchmodat(int folder, const char *path, mode_t mode, int flags) {
    PATH_CALL(REAL(fchmodat)(folder, path, mode, flags), CHMOD, folder, path, 0);
}
int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
    PATH_CALL(REAL(utimensat)(folder, path, times, flags), TIMES, folder, path, 0);
}
int truncate(const char *path, off_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int result = ftruncate(fd, size), saved = errno;
    close(fd);
    errno = saved;
    return result;
}
int truncate64(const char *path, off64_t size) { return truncate(path, size); }

/* Calls with two paths: the file in question may be below the folder by either. */
static int two(int from_folder, const char *from, int to_folder, const char *to, char *a, char *b) {
    int is_first = of_path(from_folder, from, a), is_second = of_path(to_folder, to, b);
    return is_first || is_second;
}
#define PATHS_CALL(expression, what, from_folder, from, to_folder, to, needs_space) \
    char a_[PATH_MAX], b_[PATH_MAX]; \
    if (!two(from_folder, from, to_folder, to, a_, b_)) return expression; \
    long number_ = begin(); \
    int result_ = fails(number_, needs_space) ? -1 : expression; \
    end_of_path(number_, what, result_ == 0, b_, a_); \
    return result_

int rename(const char *from, const char *to) {
    PATHS_CALL(REAL(rename)(from, to), RENAME, AT_FDCWD, from, AT_FDCWD, to, 1);
}
int renameat(int f, const char *from, int t, const char *to) {
    PATHS_CALL(REAL(renameat)(f, from, t, to), RENAME, f, from, t, to, 1);
}
int renameat2(int f, const char *from, int t, const char *to, unsigned int flags) {
    PATHS_CALL(REAL(renameat2)(f, from, t, to, flags), RENAME, f, from, t, to, 1);
}
int link(const char *from, const char *to) {
    PATHS_CALL(REAL(link)(from, to), LINK, AT_FDCWD, from, AT_FDCWD, to, 1);
}
int linkat(int f, const char *from, int t, const char *to, int flags) {
    PATHS_CALL(REAL(linkat)(f, from, t, to, flags), LINK, f, from, t, to, 1);
}
static int link_to(const char *target, int folder, const char *path) {
    char name[PATH_MAX];
    if (!of_path(folder, path, name)) return REAL(symlinkat)(target, folder, path);
    long number = begin();
    int result = fails(number, 1) ? -1 : REAL(symlinkat)(target, folder, path);
    end_of_path(number, SYMLINK, result == 0, name, target);
    return result;
}
int symlink(const char *target, const char *path) { return link_to(target, AT_FDCWD, path); }
int symlinkat(const char *target, int folder, const char *path) { return link_to(target, folder, path); }

/* Opening: a change if it makes a file or empties one. */
static int opened(int folder, const char *path, int flags, mode_t mode) {
    char name[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || (flags & O_TMPFILE) == O_TMPFILE || !of_path(folder, path, name))
        return REAL(openat)(folder, path, flags, mode);
    struct stat before;
    int was_there = !stat(name, &before);
    long number = begin();
    if (fails(number, !was_there)) { end_of_path(number, CREATE, 0, name, NULL); return -1; }
    int fd = REAL(openat)(folder, path, flags, mode);
    int empties = was_there && (flags & O_TRUNC) && before.st_size;
    end_of_path(number, was_there ? EMPTY : CREATE, fd >= 0 && (!was_there || empties), name, NULL);
    return fd;
}
#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list rest; va_start(rest, flags); \
    mode = va_arg(rest, mode_t); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags | O_LARGEFILE, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

/* Writing. `offset` < 0: where the file's position is. */
static ssize_t written(int fd, const void *data, size_t size, off_t offset) {
    char name[PATH_MAX];
    if (!is_armed || !of_fd(fd, name))
        return offset < 0 ? REAL(write)(fd, data, size) : REAL(pwrite64)(fd, data, size, offset);
    struct stat info;
    fstat(fd, &info);
    long number = begin();
    off_t place = offset >= 0 ? offset : fcntl(fd, F_GETFL) & O_APPEND ? info.st_size : lseek(fd, 0, SEEK_CUR);
    int is_cut = number == at && (kind == TORN || kind == SHORT) && size > 1;
    ssize_t result = -1;
    if (!fails(number, 1)) {
        size_t wanted = is_cut ? size / 2 : size;
        result = offset < 0 ? REAL(write)(fd, data, wanted) : REAL(pwrite64)(fd, data, wanted, offset);
    }
    end_of_fd(number, WRITE, result > 0, fd, name, place, data, result);
    return result;
}
ssize_t write(int fd, const void *data, size_t size) { return written(fd, data, size, -1); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return written(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return written(fd, data, size, offset); }
/* In parts, as the system may do it too. */
static ssize_t gathered(int fd, const struct iovec *parts, int n, off_t offset) {
    ssize_t total = 0;
    for (int i = 0; i < n; i++) {
        ssize_t done = written(fd, parts[i].iov_base, parts[i].iov_len, offset < 0 ? -1 : offset + total);
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return total;
}
ssize_t writev(int fd, const struct iovec *parts, int n) {
    char name[PATH_MAX];
    return is_armed && of_fd(fd, name) ? gathered(fd, parts, n, -1) : REAL(writev)(fd, parts, n);
}
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t offset) { return gathered(fd, parts, n, offset); }
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t offset) { return gathered(fd, parts, n, offset); }
/* Copies inside the kernel are refused: those who ask for them then write. */
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned int flags) {
    char name[PATH_MAX];
    if (is_armed && of_fd(out, name)) { errno = ENOSYS; return -1; }
    return REAL(copy_file_range)(in, from, out, to, size, flags);
}
static int is_refused(int out) {
    char name[PATH_MAX];
    if (!is_armed || !of_fd(out, name)) return 0;
    errno = EINVAL;
    return 1;
}
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    return is_refused(out) ? -1 : REAL(sendfile)(out, in, offset, size);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    return is_refused(out) ? -1 : REAL(sendfile64)(out, in, offset, size);
}

/* Calls with a descriptor. */
#define FD_CALL(expression, what, fd, place, needs_space) \
    char name_[PATH_MAX]; \
    if (!is_armed || !of_fd(fd, name_)) return expression; \
    long number_ = begin(); \
    int result_ = fails(number_, needs_space) ? -1 : expression; \
    end_of_fd(number_, what, result_ == 0, fd, name_, place, NULL, 0); \
    return result_

int ftruncate(int fd, off_t size) { FD_CALL(REAL(ftruncate)(fd, size), RESIZE, fd, size, 1); }
int ftruncate64(int fd, off64_t size) { FD_CALL(REAL(ftruncate64)(fd, size), RESIZE, fd, size, 1); }
int fsync(int fd) { FD_CALL(REAL(fsync)(fd), SYNC, fd, 0, 0); }
int fdatasync(int fd) { FD_CALL(REAL(fdatasync)(fd), SYNC, fd, 0, 0); }
int fchmod(int fd, mode_t mode) { FD_CALL(REAL(fchmod)(fd, mode), CHMOD, fd, 0, 0); }
int futimens(int fd, const struct timespec times[2]) { FD_CALL(REAL(futimens)(fd, times), TIMES, fd, 0, 0); }
int posix_fallocate(int fd, off_t from, off_t size) {
    char name[PATH_MAX];
    return is_armed && of_fd(fd, name) ? EOPNOTSUPP : REAL(posix_fallocate)(fd, from, size);
}
int fallocate(int fd, int mode, off_t from, off_t size) {
    if (is_refused(fd)) { errno = EOPNOTSUPP; return -1; }
    return REAL(fallocate)(fd, mode, from, size);
}
