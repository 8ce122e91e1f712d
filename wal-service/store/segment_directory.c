#include "wal-service/store/segment_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/memory.h"
#include "wal-service/store/segment_file.h"

static const char LOCK_NAME[] = "LOCK";

static bool sync_directory(const char *path, struct error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot open %s", path);
    int result = fsync(fd), saved = errno;
    close(fd);
    if (result != 0)
        return error_set_errno(err, ERROR_UNAVAILABLE, saved, "cannot sync %s", path);
    return true;
}

/* One directory; its entry is synced, or a power cut could take a log away as a whole. */
static bool make_one(char *path, struct error *err)
{
    if (mkdir(path, 0750) != 0) {
        if (errno == EEXIST)
            return true;
        return error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot make the directory %s", path);
    }
    char *slash = strrchr(path, '/');
    if (!slash)
        return sync_directory(".", err);
    if (slash == path)
        return sync_directory("/", err);
    *slash = '\0';
    bool ok = sync_directory(path, err);
    *slash = '/';
    return ok;
}

static bool make_all(const char *path, struct error *err)
{
    char *copy = mem_strdup(path);
    size_t len = strlen(copy);
    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    bool ok = true;
    for (char *slash = strchr(copy + 1, '/'); slash && ok; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = make_one(copy, err);
        *slash = '/';
    }
    ok = ok && make_one(copy, err);
    free(copy);
    return ok;
}

/* What the holder wrote into the lock file, as one line; "another process" when it has not yet. */
static void read_holder(int lock, char *holder, size_t size)
{
    ssize_t n = pread(lock, holder, size - 1, 0);
    holder[n > 0 ? n : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    if (holder[0] == '\0')
        snprintf(holder, size, "another process");
}

static bool take_lock(struct segment_directory *directory, const char *path, struct error *err)
{
    int lock = openat(directory->fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (lock < 0)
        return error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot open the lock file in %s", path);
    /* bound to this open file, not to the process: a second open in this process is kept out too, and closing
     * some other descriptor of the file does not let go of it */
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fcntl(lock, F_OFD_SETLK, &whole) != 0) {
        int saved = errno;
        char holder[128];
        read_holder(lock, holder, sizeof holder);
        close(lock);
        if (saved == EAGAIN || saved == EACCES)
            return error_set(err, ERROR_FAILED_PRECONDITION, "the log in %s is locked by %s", path, holder);
        return error_set_errno(err, ERROR_UNAVAILABLE, saved, "cannot lock the log in %s", path);
    }
    char host[64] = "", line[128];
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "unknown");
    int len = snprintf(line, sizeof line, "process %ld on host %s\n", (long)getpid(), host);
    /* for people who read the refusal; the lock itself does not depend on it, so a full disk is no reason to stop */
    if (ftruncate(lock, 0) == 0 && pwrite(lock, line, (size_t)len, 0) != len)
        (void)!ftruncate(lock, 0);
    directory->lock = lock;
    return true;
}

bool segment_directory_open(struct segment_directory *directory, const char *path, struct error *err)
{
    *directory = (struct segment_directory) { .fd = -1, .lock = -1 };
    if (!make_all(path, err))
        return false;
    directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory->fd < 0)
        return error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot open %s", path);
    if (!take_lock(directory, path, err)) {
        segment_directory_close(directory);
        return false;
    }
    return true;
}

bool segment_directory_open_to_read(struct segment_directory *directory, const char *path, struct error *err)
{
    *directory = (struct segment_directory) { .fd = -1, .lock = -1 };
    directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory->fd < 0)
        return error_set_errno(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE, errno, "cannot open %s", path);
    directory->lock = openat(directory->fd, LOCK_NAME, O_RDONLY | O_CLOEXEC);
    if (directory->lock < 0 && errno == ENOENT)
        return true; /* a copy, or no process ever had it open */
    if (directory->lock < 0) {
        int saved = errno;
        segment_directory_close(directory);
        return error_set_errno(err, ERROR_UNAVAILABLE, saved, "cannot open the lock file in %s", path);
    }
    struct flock whole = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    if (fcntl(directory->lock, F_OFD_SETLK, &whole) == 0)
        return true;
    int saved = errno;
    char holder[128];
    read_holder(directory->lock, holder, sizeof holder);
    segment_directory_close(directory);
    if (saved == EAGAIN || saved == EACCES)
        return error_set(err, ERROR_FAILED_PRECONDITION, "the log in %s is locked by %s", path, holder);
    return error_set_errno(err, ERROR_UNAVAILABLE, saved, "cannot lock the log in %s", path);
}

void segment_directory_close(struct segment_directory *directory)
{
    if (directory->lock >= 0)
        close(directory->lock);
    if (directory->fd >= 0)
        close(directory->fd);
    *directory = (struct segment_directory) { .fd = -1, .lock = -1 };
}

/* Only names that the log makes itself: what an operator leaves in the directory is not ours to remove. */
static bool is_temporary(const char *name)
{
    size_t len = strlen(name), suffix = sizeof TEMPORARY_SUFFIX - 1;
    return strncmp(name, TEMPORARY_PREFIX, sizeof TEMPORARY_PREFIX - 1) == 0 && len >= suffix &&
           strcmp(name + len - suffix, TEMPORARY_SUFFIX) == 0;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

bool segment_directory_list(struct segment_directory *directory, struct disk *disk, uint64_t **ids, size_t *n, struct error *err)
{
    int copy = openat(directory->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);
    if (!stream) {
        error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot list the log's directory");
        if (copy >= 0)
            close(copy);
        return false;
    }
    uint64_t *found = NULL, id;
    size_t count = 0, capacity = 0;
    bool ok = false;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry && errno != 0) {
            error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot list the log's directory");
            goto out;
        }
        if (!entry)
            break;
        if (is_temporary(entry->d_name)) {
            if (disk && disk->ops->unlink(disk, directory->fd, entry->d_name) != 0 && errno != ENOENT) {
                error_set_errno(err, ERROR_UNAVAILABLE, errno, "cannot remove the temporary file %.64s", entry->d_name);
                goto out;
            }
        } else if (segment_name_parse(entry->d_name, &id) || segment_packed_name_parse(entry->d_name, &id)) {
            if (count == capacity) {
                capacity = capacity ? 2 * capacity : 64;
                found = mem_realloc(found, capacity * sizeof found[0]);
            }
            found[count++] = id;
        }
    }
    if (count > 0)
        qsort(found, count, sizeof found[0], compare_ids);
    size_t different = 0; /* a segment may be there twice: compressed, and not yet removed */
    for (size_t i = 0; i < count; i++)
        if (i == 0 || found[i] != found[i - 1])
            found[different++] = found[i];
    count = different;
    *ids = found;
    *n = count;
    found = NULL;
    ok = true;
out:
    closedir(stream);
    free(found);
    return ok;
}
