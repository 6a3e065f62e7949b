/* Owns the faults of the tests: a library that is preloaded into the real, unmodified daemon and fails it where a disk, a
 * power supply or a processor would. Refuses a rule that it does not understand: a fault that silently never comes would
 * make a test pass that proved nothing.
 *
 * ROLLOUT_FAULTS is a list of rules, separated by `;`:
 *   skip=sync                         fsync, fdatasync, sync_file_range, syncfs, msync and sync answer success, undone
 *   skip=fsync                        the same, but sync_file_range goes through: what sled does without us
 *   abort=OP:before|after:N           abort() at the N-th call (from 1) of OP, on entry or right after its return
 *   error=OP:ERRNO[:FROM[:COUNT]]     calls FROM .. FROM+COUNT fail (default: all from the first one on, for ever)
 *   control=FILE                      while FILE exists, every line of it is an `error` rule
 *   count=FILE                        keeps four native u64 there: calls of sync, send, recv and write so far
 *   record=FILE                       appends to FILE everything that changes the disk below ROLLOUT_FAULTS_DIR, and every
 *                                     sync there; one order for all threads. What it cannot record, it refuses
 * OP of abort and count: `sync` = fsync or fdatasync of a file called `db`; `write` = write to such a file;
 *   `send`, `recv` = more than 0 bytes on a TCP socket. A recv counts when it has returned bytes, so it has no `before`.
 * OP of error, below the directory ROLLOUT_FAULTS_DIR: `sync` = fsync and fdatasync; `write` = writes, growing a file,
 *   creating a file, renaming; with EROFS every opening for writing, too. Removing and shrinking never fail.
 * ERRNO: ENOSPC, EIO, EROFS.
 *
 * A record is five native i64 (kind, a, b, bytes of the path, bytes of data), the path below the directory, and the data;
 * the kinds are in `enum kind`, and tests/src/torn/trace.rs reads them. A change is recorded before it is made, and both
 * under one lock, so the order of records is the order of changes. A sync is recorded when it has returned, with the length
 * that the recording had when it was called: what stands before that was made durable.
 *
 * Every call goes straight to the kernel, so nothing here depends on the order in which libraries are set up. Calls that
 * the daemon does not make today (sendto, readv ...) are covered too: its libraries may change their minds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { SYNC, SEND, RECV, WRITE, OPS };
enum moment { BEFORE, AFTER };
struct error_rule { enum op op; int error; long from, count; atomic_long calls; };
struct abort_rule { enum op op; enum moment moment; long at; };

#define RULES_MAX 16
static struct error_rule errors[RULES_MAX];
static struct abort_rule aborts[RULES_MAX];
static int errors_len, aborts_len, skips_sync, skips_ranges;
static char control[PATH_MAX], below[PATH_MAX];
/* Where is recorded; -1 = nothing is. */
static int trace = -1;
static atomic_ulong own_counts[OPS];
static atomic_ulong *counts;
/* Which calls must be looked at; everything else costs one comparison. */
static int watches_db, watches_sockets, watches_dir;

static const char *const OP_NAMES[OPS] = {"sync", "send", "recv", "write"};
static const char *const MOMENT_NAMES[] = {"before", "after"};

/* ---- Rules ---------------------------------------------------------------------------------------------------------- */

static void say(const char *what, const char *about)
{
	char line[512];
	int length = snprintf(line, sizeof line, "faults: %s%s\n", what, about);
	syscall(SYS_write, 2, line, length < (int)sizeof line ? length : (int)sizeof line);
}

static void refuse(const char *rule)
{
	say("not understood: ", rule);
	syscall(SYS_exit_group, 120);
}

static int op_of(const char *text)
{
	for (int op = 0; op < OPS; op++)
		if (!strcmp(text, OP_NAMES[op])) return op;
	return -1;
}

static int errno_of(const char *text)
{
	if (!strcmp(text, "ENOSPC")) return ENOSPC;
	if (!strcmp(text, "EIO")) return EIO;
	return strcmp(text, "EROFS") ? 0 : EROFS;
}

/* Reads `write:ENOSPC:3:2`. */
static int read_error(const char *text, struct error_rule *rule)
{
	char op[16], name[16];
	long from = 1, count = LONG_MAX;
	int fields = sscanf(text, "%15[^:]:%15[^:]:%ld:%ld", op, name, &from, &count);
	int which = fields >= 2 ? op_of(op) : -1;
	if ((which != SYNC && which != WRITE) || !errno_of(name) || from < 1 || count < 1) return 0;
	rule->op = which, rule->error = errno_of(name), rule->from = from, rule->count = count;
	return 1;
}

/* Reads `sync:before:12`. */
static int read_abort(const char *text, struct abort_rule *rule)
{
	char op[16], moment[16];
	int fields = sscanf(text, "%15[^:]:%15[^:]:%ld", op, moment, &rule->at);
	int which = fields == 3 ? op_of(op) : -1;
	if (which < 0 || rule->at < 1) return 0;
	rule->op = which;
	rule->moment = strcmp(moment, "before") ? AFTER : BEFORE;
	return !strcmp(moment, MOMENT_NAMES[rule->moment]) && !(which == RECV && rule->moment == BEFORE);
}

static void map_counts(const char *path)
{
	int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || syscall(SYS_ftruncate, fd, sizeof own_counts)) refuse(path);
	counts = mmap(NULL, sizeof own_counts, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (counts == MAP_FAILED) refuse(path);
	syscall(SYS_close, fd);
}

static void open_trace(const char *path)
{
	trace = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trace < 0) refuse(path);
}

static void read_rule(const char *rule)
{
	if (!strcmp(rule, "skip=sync")) skips_sync = skips_ranges = 1;
	else if (!strcmp(rule, "skip=fsync")) skips_sync = 1;
	else if (!strncmp(rule, "control=", 8) && rule[8] == '/') strncpy(control, rule + 8, sizeof control - 1);
	else if (!strncmp(rule, "count=", 6) && rule[6] == '/') map_counts(rule + 6);
	else if (!strncmp(rule, "record=", 7) && rule[7] == '/') open_trace(rule + 7);
	else if (errors_len < RULES_MAX && !strncmp(rule, "error=", 6) && read_error(rule + 6, &errors[errors_len])) errors_len++;
	else if (aborts_len < RULES_MAX && !strncmp(rule, "abort=", 6) && read_abort(rule + 6, &aborts[aborts_len])) aborts_len++;
	else refuse(rule);
}

__attribute__((constructor)) static void set_up(void)
{
	const char *rules = getenv("ROLLOUT_FAULTS"), *dir = getenv("ROLLOUT_FAULTS_DIR");
	char list[4096] = "", *rest = list, *rule;
	counts = own_counts;
	if (!rules || !*rules) return;
	if (strlen(rules) >= sizeof list) refuse("a list that long");
	strcpy(list, rules);
	while ((rule = strsep(&rest, ";")))
		if (*rule) read_rule(rule);
	watches_dir = errors_len || *control;
	if ((watches_dir || trace >= 0) && (!dir || !realpath(dir, below))) refuse("a rule without a ROLLOUT_FAULTS_DIR");
	watches_db = watches_sockets = aborts_len || counts != own_counts;
	/* Hundreds of aborts must not fill the disk with core files. */
	struct rlimit none = {0, 0};
	if (aborts_len) setrlimit(RLIMIT_CORE, &none);
}

/* ---- What a call is about ------------------------------------------------------------------------------------------- */

static int path_of(int fd, char path[PATH_MAX])
{
	char link[40];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
	if (length <= 0 || path[0] != '/') return 0;
	path[length] = 0;
	return 1;
}

static int is_below(const char *path)
{
	size_t length = strlen(below);
	return !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

static int fd_is_below(int fd)
{
	char path[PATH_MAX];
	return path_of(fd, path) && is_below(path);
}

static int is_db(int fd)
{
	char path[PATH_MAX], *name;
	return path_of(fd, path) && (name = strrchr(path, '/')) && !strcmp(name, "/db");
}

static int is_tcp(int fd)
{
	int domain = 0, type = 0;
	socklen_t length = sizeof domain;
	if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &length)) return 0;
	length = sizeof type;
	if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &length)) return 0;
	return (domain == AF_INET || domain == AF_INET6) && type == SOCK_STREAM;
}

/* The path of a name as the daemon gives it; the file itself need not exist. */
static int path_of_name(int dir, const char *name, char path[PATH_MAX])
{
	char joined[2 * PATH_MAX], base[PATH_MAX] = "";
	if (name[0] != '/' && !(dir == AT_FDCWD ? getcwd(base, sizeof base) != NULL : path_of(dir, base))) return 0;
	int length = snprintf(joined, sizeof joined, "%s/%s", base, name);
	while (length > 1 && joined[length - 1] == '/') joined[--length] = 0;
	char *last = strrchr(joined, '/');
	*last = 0;
	if (!realpath(*joined ? joined : "/", path)) return 0;
	size_t parent = strlen(path);
	return snprintf(path + parent, PATH_MAX - parent, "/%s", last + 1) < (int)(PATH_MAX - parent);
}

static int name_is_below(int dir, const char *name)
{
	char path[PATH_MAX];
	return path_of_name(dir, name, path) && is_below(path);
}

/* ---- Recording ------------------------------------------------------------------------------------------------------ */

/* VOID: the change before did not happen after all. The data of a RENAME is the other path. The path of what was synced may
 * be that of a directory, and is the one that it has when the sync returns. */
enum kind { VOID, WRITE_AT, SET_LEN, CREATE, MAKE_DIR, RENAME, REMOVE, REMOVE_DIR, SYNCED };

#define PARTS_MAX 64
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

/* Call it with `order` held. */
static void record(enum kind kind, long a, long b, const char *path, const struct iovec *parts, int count)
{
	const char *shown = path + strlen(below);
	if (*shown == '/') shown++;
	long head[5] = {kind, a, b, strlen(shown), 0};
	struct iovec all[2 + PARTS_MAX] = {{head, sizeof head}, {(void *)shown, strlen(shown)}};
	if (count > PARTS_MAX) refuse("a write of so many parts cannot be recorded");
	for (int i = 0; i < count; i++) all[2 + i] = parts[i], head[4] += parts[i].iov_len;
	long whole = sizeof head + head[3] + head[4];
	if (syscall(SYS_writev, trace, all, 2 + count) != whole) refuse("the recording cannot be written");
}

/* What would change the disk in a way that no record is for. */
static void refuse_below(int fd, const char *what)
{
	if (trace >= 0 && fd_is_below(fd)) refuse(what);
}

static void refuse_name_below(int dir, const char *name, const char *what)
{
	if (trace >= 0 && name_is_below(dir, name)) refuse(what);
}

/* A change of names; `call` makes it. */
#define RECORDED(kind, a, path, parts, count, call) ({ \
	pthread_mutex_lock(&order); \
	record(kind, a, 0, path, parts, count); \
	long made = call; \
	int why = errno; \
	if (made < 0) record(VOID, 0, 0, below, NULL, 0); \
	pthread_mutex_unlock(&order); \
	errno = why; \
	made; })

/* Where a write goes: at `at`, at the file's own place (-1), or at its end. Call it with `order` held. */
static long place_of(int fd, long at)
{
	struct stat now;
	if (!(syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND)) return at >= 0 ? at : syscall(SYS_lseek, fd, 0, SEEK_CUR);
	if (fstat(fd, &now)) refuse("a file without a size");
	return now.st_size;
}

static long recorded_write(int fd, long number, long a, long b, long c, long d)
{
	char path[PATH_MAX];
	if (trace < 0 || !path_of(fd, path) || !is_below(path)) return syscall(number, fd, a, b, c, d);
	struct iovec one = {(void *)a, b};
	int is_plain = number == SYS_write || number == SYS_pwrite64;
	const struct iovec *parts = is_plain ? &one : (const struct iovec *)a;
	int count = is_plain ? 1 : b;
	long bytes = 0;
	for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
	pthread_mutex_lock(&order);
	/* The name may have changed while others held the lock. */
	if (!path_of(fd, path)) refuse("a file without a path");
	record(WRITE_AT, place_of(fd, number == SYS_pwrite64 || number == SYS_pwritev ? c : -1), 0, path, parts, count);
	long written = syscall(number, fd, a, b, c, d);
	int why = errno;
	if (written < 0) record(VOID, 0, 0, below, NULL, 0);
	else if (written != bytes) refuse("a write that was cut short cannot be recorded");
	pthread_mutex_unlock(&order);
	errno = why;
	return written;
}

static long recorded_sync(int fd, long number)
{
	char path[PATH_MAX];
	if (trace < 0 || !path_of(fd, path) || !is_below(path)) return syscall(number, fd);
	pthread_mutex_lock(&order);
	long from = syscall(SYS_lseek, trace, 0, SEEK_END);
	pthread_mutex_unlock(&order);
	long result = syscall(number, fd);
	int why = errno;
	pthread_mutex_lock(&order);
	if (!result && path_of(fd, path)) record(SYNCED, from, number == SYS_fdatasync, path, NULL, 0);
	pthread_mutex_unlock(&order);
	errno = why;
	return result;
}

static int recorded_open(int dir, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	struct stat now;
	if (trace < 0 || !(flags & (O_CREAT | O_TRUNC | O_SYNC | O_DSYNC)) || !path_of_name(dir, name, path) || !is_below(path))
		return syscall(SYS_openat, dir, name, flags, mode);
	if ((flags & (O_SYNC | O_DSYNC)) || (flags & O_TMPFILE) == O_TMPFILE) refuse("an opening like this cannot be recorded");
	pthread_mutex_lock(&order);
	int is_there = !fstatat(AT_FDCWD, path, &now, 0), is_recorded = 1;
	if (!is_there && (flags & O_CREAT)) record(CREATE, 0, 0, path, NULL, 0);
	else if (is_there && (flags & O_TRUNC) && now.st_size) record(SET_LEN, 0, 0, path, NULL, 0);
	else is_recorded = 0;
	int fd = syscall(SYS_openat, dir, name, flags, mode), why = errno;
	if (fd < 0 && is_recorded) record(VOID, 0, 0, below, NULL, 0);
	pthread_mutex_unlock(&order);
	errno = why;
	return fd;
}

static int recorded_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	char old[PATH_MAX], new[PATH_MAX];
	int leaves = path_of_name(from_dir, from, old) && is_below(old), comes = path_of_name(to_dir, to, new) && is_below(new);
	if (trace < 0 || (!leaves && !comes)) return syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
	if (leaves != comes || flags) refuse("a rename like this cannot be recorded");
	char *shown = new + strlen(below) + 1;
	struct iovec other = {shown, strlen(shown)};
	return RECORDED(RENAME, 0, old, &other, 1, syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}

static int recorded_name(enum kind kind, int dir, const char *name, long number, long a)
{
	char path[PATH_MAX];
	if (trace < 0 || !path_of_name(dir, name, path) || !is_below(path)) return syscall(number, dir, name, a);
	return RECORDED(kind, 0, path, NULL, 0, syscall(number, dir, name, a));
}

static int recorded_length(int fd, off_t length)
{
	char path[PATH_MAX];
	if (trace < 0 || !path_of(fd, path) || !is_below(path)) return syscall(SYS_ftruncate, fd, length);
	return RECORDED(SET_LEN, length, path, NULL, 0, syscall(SYS_ftruncate, fd, length));
}

/* ---- Faults --------------------------------------------------------------------------------------------------------- */

static void abort_if_asked(enum op op, enum moment moment, unsigned long call)
{
	for (int i = 0; i < aborts_len; i++) {
		char about[80];
		if (aborts[i].op != op || aborts[i].moment != moment || (unsigned long)aborts[i].at != call) continue;
		snprintf(about, sizeof about, "%s %s, call %lu", MOMENT_NAMES[moment], OP_NAMES[op], call);
		say("abort ", about);
		abort();
	}
}

/* Counts a call that begins; answers its number for `after`. */
static unsigned long begin(enum op op)
{
	unsigned long call = atomic_fetch_add(&own_counts[op], 1) + 1;
	if (counts != own_counts) atomic_fetch_add(&counts[op], 1);
	abort_if_asked(op, BEFORE, call);
	return call;
}

static long end(enum op op, unsigned long call, long result)
{
	int kept = errno;
	abort_if_asked(op, AFTER, call);
	errno = kept;
	return result;
}

/* The error that holds by the control file now; 0 = none. */
static int controlled(enum op op)
{
	char text[1024], *rest = text, *line;
	if (!*control || syscall(SYS_faccessat, AT_FDCWD, control, F_OK, 0)) return 0;
	int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0) return 0;
	ssize_t length = syscall(SYS_read, fd, text, sizeof text - 1);
	syscall(SYS_close, fd);
	text[length > 0 ? length : 0] = 0;
	while ((line = strsep(&rest, "\n"))) {
		struct error_rule rule;
		if (!*line) continue;
		if (strncmp(line, "error=", 6) || !read_error(line + 6, &rule)) refuse(line);
		if (rule.op == op) return rule.error;
	}
	return 0;
}

/* The errno that a call below the directory gets; 0 = it goes through. With `only`, rules with another errno do not apply. */
static int error_of(enum op op, int only)
{
	for (int i = 0; i < errors_len; i++) {
		if (errors[i].op != op || (only && errors[i].error != only)) continue;
		long call = atomic_fetch_add(&errors[i].calls, 1) + 1;
		if (call >= errors[i].from && call - errors[i].from < errors[i].count) return errors[i].error;
	}
	int error = controlled(op);
	return only && error != only ? 0 : error;
}

/* A write to a file or a socket, whatever it is called. */
static long writing(int fd, int has_bytes, long number, long a, long b, long c, long d)
{
	int kept = errno, error;
	enum op op = OPS;
	if (has_bytes && watches_sockets && is_tcp(fd)) op = SEND;
	else if (has_bytes && watches_db && is_db(fd)) op = WRITE;
	if (op != SEND && watches_dir && fd_is_below(fd) && (error = error_of(WRITE, 0))) return errno = error, -1;
	errno = kept;
	unsigned long call = op == OPS ? 0 : begin(op);
	long result = recorded_write(fd, number, a, b, c, d);
	return op == OPS ? result : end(op, call, result);
}

static long receiving(int fd, long number, long a, long b, long c, long d, long e)
{
	long result = syscall(number, fd, a, b, c, d, e);
	if (result > 0 && watches_sockets && is_tcp(fd)) return end(RECV, begin(RECV), result);
	return result;
}

static long syncing(int fd, long number)
{
	int kept = errno, error;
	int is_counted = watches_db && is_db(fd);
	if (watches_dir && fd_is_below(fd) && (error = error_of(SYNC, 0))) return errno = error, -1;
	errno = kept;
	unsigned long call = is_counted ? begin(SYNC) : 0;
	long result = skips_sync ? 0 : recorded_sync(fd, number);
	return is_counted ? end(SYNC, call, result) : result;
}

static int opening(int dir, const char *name, int flags, mode_t mode)
{
	int kept = errno, error;
	/* An opening that syncs by itself would escape the control arm. */
	if (skips_sync) flags &= ~(O_SYNC | O_DSYNC);
	if (watches_dir && (flags & (O_WRONLY | O_RDWR | O_CREAT)) && name_is_below(dir, name)) {
		int creates = (flags & O_CREAT) && syscall(SYS_faccessat, dir, name, F_OK, 0);
		if ((error = error_of(WRITE, creates ? 0 : EROFS))) return errno = error, -1;
	}
	errno = kept;
	return recorded_open(dir, name, flags, mode);
}

static int renaming(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	int error;
	if (watches_dir && name_is_below(to_dir, to) && (error = error_of(WRITE, 0))) return errno = error, -1;
	return recorded_rename(from_dir, from, to_dir, to, flags);
}

static int growing(int fd, off_t length, long number, long a, long b, long c)
{
	struct stat now;
	int error;
	if (watches_dir && fd_is_below(fd) && !fstat(fd, &now) && length > now.st_size && (error = error_of(WRITE, 0)))
		return errno = error, -1;
	if (number == SYS_ftruncate) return recorded_length(fd, length);
	refuse_below(fd, "fallocate cannot be recorded");
	return syscall(number, fd, a, b, c);
}

/* ---- The calls ------------------------------------------------------------------------------------------------------ */

#define WANTS_MODE(flags) (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE)
#define OPEN(NAME) int NAME(const char *name, int flags, ...) { \
	va_list rest; va_start(rest, flags); \
	mode_t mode = WANTS_MODE(flags) ? va_arg(rest, mode_t) : 0; \
	va_end(rest); \
	return opening(AT_FDCWD, name, flags, mode); }
#define OPENAT(NAME) int NAME(int dir, const char *name, int flags, ...) { \
	va_list rest; va_start(rest, flags); \
	mode_t mode = WANTS_MODE(flags) ? va_arg(rest, mode_t) : 0; \
	va_end(rest); \
	return opening(dir, name, flags, mode); }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
int creat(const char *name, mode_t mode) { return opening(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static int has_any(const struct iovec *parts, int count)
{
	for (int i = 0; i < count; i++)
		if (parts[i].iov_len) return 1;
	return 0;
}

#define L(value) ((long)(value))
ssize_t write(int fd, const void *from, size_t n) { return writing(fd, n > 0, SYS_write, L(from), L(n), 0, 0); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) { return writing(fd, n > 0, SYS_pwrite64, L(from), L(n), at, 0); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) { return pwrite64(fd, from, n, at); }
ssize_t writev(int fd, const struct iovec *parts, int n) { return writing(fd, has_any(parts, n), SYS_writev, L(parts), n, 0, 0); }
ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at) { return writing(fd, has_any(parts, n), SYS_pwritev, L(parts), n, at, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at) { return pwritev64(fd, parts, n, at); }
ssize_t send(int fd, const void *from, size_t n, int flags) { return sendto(fd, from, n, flags, NULL, 0); }
ssize_t sendmsg(int fd, const struct msghdr *m, int flags) { return writing(fd, has_any(m->msg_iov, m->msg_iovlen), SYS_sendmsg, L(m), flags, 0, 0); }
ssize_t sendto(int fd, const void *from, size_t n, int flags, const struct sockaddr *to, socklen_t length)
{
	if (!to) return writing(fd, n > 0, SYS_sendto, L(from), L(n), flags, 0);
	return syscall(SYS_sendto, fd, from, n, flags, to, length);
}

ssize_t read(int fd, void *to, size_t n) { return receiving(fd, SYS_read, L(to), L(n), 0, 0, 0); }
ssize_t readv(int fd, const struct iovec *parts, int n) { return receiving(fd, SYS_readv, L(parts), n, 0, 0, 0); }
ssize_t recv(int fd, void *to, size_t n, int flags) { return recvfrom(fd, to, n, flags, NULL, NULL); }
ssize_t recvmsg(int fd, struct msghdr *m, int flags) { return receiving(fd, SYS_recvmsg, L(m), flags, 0, 0, 0); }
ssize_t recvfrom(int fd, void *to, size_t n, int flags, struct sockaddr *from, socklen_t *length)
{
	return receiving(fd, SYS_recvfrom, L(to), L(n), flags, L(from), L(length));
}

int fsync(int fd) { return syncing(fd, SYS_fsync); }
int fdatasync(int fd) { return syncing(fd, SYS_fdatasync); }
int syncfs(int fd) { refuse_below(fd, "syncfs cannot be recorded"); return skips_sync ? 0 : syscall(SYS_syncfs, fd); }
void sync(void) { if (trace >= 0) refuse("sync cannot be recorded"); if (!skips_sync) syscall(SYS_sync); }
int msync(void *at, size_t n, int flags) { return skips_sync ? 0 : syscall(SYS_msync, at, n, flags); }
int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags) { return skips_ranges ? 0 : syscall(SYS_sync_file_range, fd, at, n, flags); }

int ftruncate64(int fd, off64_t length) { return growing(fd, length, SYS_ftruncate, length, 0, 0); }
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) { return growing(fd, at + n, SYS_fallocate, mode, at, n); }
int fallocate(int fd, int mode, off_t at, off_t n) { return fallocate64(fd, mode, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) { return fallocate64(fd, 0, at, n) ? errno : 0; }
int posix_fallocate(int fd, off_t at, off_t n) { return posix_fallocate64(fd, at, n); }

int rename(const char *from, const char *to) { return renaming(AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return renaming(from_dir, from, to_dir, to, 0); }
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) { return renaming(from_dir, from, to_dir, to, flags); }

int mkdirat(int dir, const char *name, mode_t mode) { return recorded_name(MAKE_DIR, dir, name, SYS_mkdirat, mode); }
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
int unlinkat(int dir, const char *name, int flags) { return recorded_name(flags & AT_REMOVEDIR ? REMOVE_DIR : REMOVE, dir, name, SYS_unlinkat, flags); }
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

/* What only has to be noticed. */
int linkat(int from_dir, const char *from, int dir, const char *name, int flags)
{
	refuse_name_below(dir, name, "a link cannot be recorded");
	return syscall(SYS_linkat, from_dir, from, dir, name, flags);
}
int link(const char *from, const char *name) { return linkat(AT_FDCWD, from, AT_FDCWD, name, 0); }
int symlinkat(const char *to, int dir, const char *name)
{
	refuse_name_below(dir, name, "a link cannot be recorded");
	return syscall(SYS_symlinkat, to, dir, name);
}
int symlink(const char *to, const char *name) { return symlinkat(to, AT_FDCWD, name); }
int truncate64(const char *name, off64_t length)
{
	refuse_name_below(AT_FDCWD, name, "truncate cannot be recorded");
	return syscall(SYS_truncate, name, length);
}
int truncate(const char *name, off_t length) { return truncate64(name, length); }
void *mmap64(void *at, size_t n, int protection, int flags, int fd, off64_t from)
{
	if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE)) refuse_below(fd, "a mapping cannot be recorded");
	return (void *)syscall(SYS_mmap, at, n, protection, flags, fd, from);
}
void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t from) { return mmap64(at, n, protection, flags, fd, from); }
ssize_t copy_file_range(int from, off64_t *from_at, int fd, off64_t *at, size_t n, unsigned flags)
{
	refuse_below(fd, "copy_file_range cannot be recorded");
	return syscall(SYS_copy_file_range, from, from_at, fd, at, n, flags);
}
ssize_t sendfile64(int fd, int from, off64_t *at, size_t n)
{
	refuse_below(fd, "sendfile cannot be recorded");
	return syscall(SYS_sendfile, fd, from, at, n);
}
ssize_t sendfile(int fd, int from, off_t *at, size_t n) { return sendfile64(fd, from, at, n); }
ssize_t splice(int from, off64_t *from_at, int fd, off64_t *at, size_t n, unsigned flags)
{
	refuse_below(fd, "splice cannot be recorded");
	return syscall(SYS_splice, from, from_at, fd, at, n, flags);
}
