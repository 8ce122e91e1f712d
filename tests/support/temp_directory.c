#include "tests/support/temp_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/memory.h"

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

void temp_directory_make(struct temp_directory *directory)
{
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory->path, sizeof directory->path, "%s/argon-test-XXXXXX", parent);
    must(mkdtemp(directory->path) != NULL, "mkdtemp");
}

static bool is_file(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

void temp_directory_empty(const struct temp_directory *directory)
{
    DIR *stream = opendir(directory->path);
    must(stream != NULL, "opendir");
    struct dirent *entry;
    while ((entry = readdir(stream)))
        if (is_file(entry))
            must(unlinkat(dirfd(stream), entry->d_name, 0) == 0, "unlink");
    closedir(stream);
}

void temp_directory_remove(const struct temp_directory *directory)
{
    temp_directory_empty(directory);
    must(rmdir(directory->path) == 0, "rmdir");
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct image_file *)a)->name, ((const struct image_file *)b)->name);
}

void directory_image_load(struct directory_image *image, const char *path)
{
    memset(image, 0, sizeof *image);
    DIR *stream = opendir(path);
    must(stream != NULL, "opendir");
    struct dirent *entry;
    while ((entry = readdir(stream))) {
        if (!is_file(entry))
            continue;
        must(image->n < sizeof image->files / sizeof image->files[0], "too many files");
        struct image_file *file = &image->files[image->n++];
        must(strlen(entry->d_name) < sizeof file->name, "long name");
        strcpy(file->name, entry->d_name);
        int fd = openat(dirfd(stream), file->name, O_RDONLY);
        struct stat status;
        must(fd >= 0 && fstat(fd, &status) == 0, "open");
        file->len = (size_t)status.st_size;
        file->data = mem_alloc(file->len);
        must(read(fd, file->data, file->len) == (ssize_t)file->len, "read");
        close(fd);
    }
    closedir(stream);
    qsort(image->files, image->n, sizeof image->files[0], compare_names);
}

void directory_image_store(const struct directory_image *image, const struct temp_directory *directory)
{
    temp_directory_empty(directory);
    for (size_t i = 0; i < image->n; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", directory->path, image->files[i].name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
        must(fd >= 0 && write(fd, image->files[i].data, image->files[i].len) == (ssize_t)image->files[i].len, "write");
        close(fd);
    }
}

struct image_file *directory_image_find(struct directory_image *image, const char *name)
{
    for (size_t i = 0; i < image->n; i++)
        if (strcmp(image->files[i].name, name) == 0)
            return &image->files[i];
    must(false, name);
    return NULL;
}

void directory_image_remove(struct directory_image *image, const char *name)
{
    struct image_file *file = directory_image_find(image, name);
    free(file->data);
    size_t i = (size_t)(file - image->files);
    memmove(file, file + 1, (--image->n - i) * sizeof *file);
}

void directory_image_destroy(struct directory_image *image)
{
    for (size_t i = 0; i < image->n; i++)
        free(image->files[i].data);
    image->n = 0;
}

enum { SECTOR = 512, ORDER_BYTES = 5, MAX_ORDERS = 8 };

/* Changes rather than sets bytes, so that no one who knows a checksum can put it there. */
static void change_bytes(struct image_file *file, size_t at, const uint8_t *changes, size_t n)
{
    for (size_t i = 0; i < n && at + i < file->len; i++)
        file->data[at + i] ^= changes[i];
}

void directory_image_damage(struct directory_image *image, const uint8_t *orders, size_t len)
{
    for (int n = 0; n < MAX_ORDERS && len >= ORDER_BYTES && image->n > 0; n++, orders += ORDER_BYTES, len -= ORDER_BYTES) {
        struct image_file *file = &image->files[orders[1] % image->n];
        size_t sectors = file->len / SECTOR, at = file->len ? (orders[2] | (size_t)orders[3] << 8) % file->len : 0;
        size_t sector = sectors ? at / SECTOR % sectors * SECTOR : 0, other = sectors ? orders[4] % sectors * SECTOR : 0;
        switch (orders[0] % 6) {
        case 0:
            change_bytes(file, at, &orders[4], 1);
            break;
        case 1:
            memset(file->data + sector, 0, sectors ? SECTOR : 0);
            break;
        case 2:
            memmove(file->data + sector, file->data + other, sectors ? SECTOR : 0);
            break;
        case 3:
            file->len = at;
            break;
        case 4:
            directory_image_remove(image, file->name);
            break;
        case 5:
            change_bytes(file, at, orders + ORDER_BYTES, len - ORDER_BYTES);
            return;
        }
    }
}
