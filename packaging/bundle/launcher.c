/* The single file: a folder, compressed and appended to this program.

   The first start unpacks it into a private cache, whose name has the payload's hash; every later start runs it from
   there. Unpacking goes to a folder of its own, which is renamed when it is whole: starts side by side do not meet.

   Layout: this program | zstd frame of a ustar archive | trailer. The trailer is 8 bytes of MAGIC, the frame's length
   as 16 hexadecimal digits, and 16 digits of its SHA-256. The frame carries a checksum of its content. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif
#include "zstd.h"

#define MAGIC "SIDECAR1"
#define TRAILER_BYTES 40
#define BLOCK_BYTES 512
#define PROGRAM "sidecar/sidecar"
#define PATH_BYTES 4096

static void fail(const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    fputs("sidecar: ", stderr);
    vfprintf(stderr, format, rest);
    fputc('\n', stderr);
    va_end(rest);
    exit(1);
}

static void join(char *out, const char *format, ...) {
    va_list rest;
    va_start(rest, format);
    int length = vsnprintf(out, PATH_BYTES, format, rest);
    va_end(rest);
    if (length < 0 || length >= PATH_BYTES) fail("the path of the cache is too long");
}

static void find_self(char *out) {
#ifdef __APPLE__
    uint32_t size = PATH_BYTES;
    if (_NSGetExecutablePath(out, &size) != 0) fail("cannot find its own file");
#else
    ssize_t length = readlink("/proc/self/exe", out, PATH_BYTES - 1);
    if (length <= 0) fail("cannot find its own file: is /proc there?");
    out[length] = '\0';
#endif
}

/* Whether the user alone can write to the folder. */
static int is_private(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == geteuid() && !(found.st_mode & 022);
}

static void make_folders(char *path) {
    for (char *at = path + 1; *at; at++)
        if (*at == '/') {
            *at = '\0';
            mkdir(path, 0700);
            *at = '/';
        }
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        fail("cannot make %s: %s. Set SIDECAR_HOME to a folder that can be written.", path, strerror(errno));
}

static void find_cache(char *out) {
    const char *own = getenv("SIDECAR_HOME"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (own && own[0] == '/') join(out, "%s/program", own);
    else if (cache && cache[0] == '/') join(out, "%s/sidecar/program", cache);
#ifdef __APPLE__
    else if (home && home[0] == '/') join(out, "%s/Library/Caches/sidecar/program", home);
#endif
    else if (home && home[0] == '/') join(out, "%s/.cache/sidecar/program", home);
    else fail("no place to unpack to: set SIDECAR_HOME to a folder that can be written");
}

static size_t read_octal(const char *field, size_t width) {
    size_t value = 0;
    for (size_t at = 0; at < width && field[at] >= '0' && field[at] <= '7'; at++) value = value * 8 + (size_t)(field[at] - '0');
    return value;
}

static void write_file(const char *path, const char *data, size_t size, mode_t mode) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    if (file < 0) fail("cannot write %s: %s", path, strerror(errno));
    while (size > 0) {
        ssize_t count = write(file, data, size);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) fail("cannot write %s: %s", path, strerror(errno));
        data += count;
        size -= (size_t)count;
    }
    if (close(file) != 0) fail("cannot write %s: %s", path, strerror(errno));
}

/* Unpack an archive of folders, files and links, which the build has made: no other kind is in it. */
static void unpack(const char *archive, size_t size, const char *folder) {
    for (size_t at = 0; at + BLOCK_BYTES <= size && archive[at];) {
        const char *header = archive + at;
        size_t bytes = read_octal(header + 124, 12);
        char path[PATH_BYTES];
        if (bytes > size - at - BLOCK_BYTES) fail("its archive is damaged");
        if (strstr(header, "..")) fail("its archive names a folder outside");
        join(path, "%s/%.155s%s%.100s", folder, header + 345, header[345] ? "/" : "", header);
        switch (header[156]) {
        case '5':
            make_folders(path);
            break;
        case '2':
            if (strchr(header + 157, '/') || symlink(header + 157, path) != 0) fail("cannot link %s", path);
            break;
        default:
            write_file(path, header + BLOCK_BYTES, bytes, read_octal(header + 100, 8) & 0100 ? 0700 : 0600);
        }
        at += BLOCK_BYTES + (bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    }
}

static void unpack_frame(const char *frame, size_t frame_bytes, const char *folder) {
    unsigned long long size = ZSTD_getFrameContentSize(frame, frame_bytes);
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > 1ULL << 30) fail("it is damaged: install it again");
    char *archive = malloc(size);
    if (!archive) fail("not enough memory to unpack");
    size_t result = ZSTD_decompress(archive, size, frame, frame_bytes);
    if (ZSTD_isError(result) || result != size) fail("it is damaged: install it again");
    unpack(archive, size, folder);
    free(archive);
}

static void remove_folder(const char *path) {
    pid_t child = fork();
    if (child == 0) {
        execl("/bin/rm", "rm", "-rf", path, (char *)NULL);
        _exit(1);
    }
    if (child > 0) waitpid(child, NULL, 0);
}

/* Remove what starts left behind that were killed while they unpacked. */
static void remove_leftovers(const char *cache, const char *hash) {
    DIR *folder = opendir(cache);
    if (!folder) return;
    for (struct dirent *each; (each = readdir(folder));) {
        if (strncmp(each->d_name, hash, 16) != 0 || each->d_name[16] != '.') continue;
        pid_t owner = (pid_t)atol(each->d_name + 17);
        char path[PATH_BYTES];
        join(path, "%s/%s", cache, each->d_name);
        if (owner > 0 && kill(owner, 0) != 0 && errno == ESRCH) remove_folder(path);
    }
    closedir(folder);
}

int main(int count, char **arguments) {
    (void)count;
    char self[PATH_BYTES], cache[PATH_BYTES], whole[PATH_BYTES], own[PATH_BYTES], program[PATH_BYTES];
    char trailer[TRAILER_BYTES + 1] = {0};
    find_self(self);
    int file = open(self, O_RDONLY | O_CLOEXEC);
    off_t end = file < 0 ? -1 : lseek(file, 0, SEEK_END);
    if (end < TRAILER_BYTES || pread(file, trailer, TRAILER_BYTES, end - TRAILER_BYTES) != TRAILER_BYTES || memcmp(trailer, MAGIC, 8) != 0)
        fail("the file is cut short: install it again");
    find_cache(cache);
    join(whole, "%s/%.16s", cache, trailer + 24);
    join(program, "%s/" PROGRAM, whole);
    if (access(program, X_OK) != 0) {
        char digits[17] = {0};
        memcpy(digits, trailer + 8, 16);
        off_t frame_bytes = (off_t)strtoull(digits, NULL, 16);
        if (frame_bytes <= 0 || frame_bytes > end - TRAILER_BYTES) fail("the file is cut short: install it again");
        char *mapped = mmap(NULL, (size_t)end, PROT_READ, MAP_PRIVATE, file, 0);
        if (mapped == MAP_FAILED) fail("cannot read its own file: %s", strerror(errno));
        make_folders(cache);
        if (!is_private(cache)) fail("others can write to %s: set SIDECAR_HOME to a folder of your own", cache);
        join(own, "%s/%.16s.%ld", cache, trailer + 24, (long)getpid());
        make_folders(own);
        unpack_frame(mapped + end - TRAILER_BYTES - frame_bytes, (size_t)frame_bytes, own);
        if (rename(own, whole) != 0) {
            int why = errno;
            remove_folder(own);
            if (access(program, X_OK) != 0) fail("cannot write %s: %s", whole, strerror(why));
        }
        munmap(mapped, (size_t)end);
        remove_leftovers(cache, trailer + 24);
    }
    if (!is_private(cache) || !is_private(whole)) fail("others can write to %s: remove it, or set SIDECAR_HOME to a folder of your own", whole);
    execv(program, arguments);
    fail("cannot start %s: %s. Set SIDECAR_HOME to a folder where programs may run.", program, strerror(errno));
}
