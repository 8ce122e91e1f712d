/* A directory of a test, in memory where the machine offers that, and copies of its files to garble. */
#ifndef ARGON_TESTS_TEMP_DIRECTORY_H
#define ARGON_TESTS_TEMP_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct temp_directory {
    char path[128];
};

void temp_directory_make(struct temp_directory *directory);
void temp_directory_empty(const struct temp_directory *directory); /* removes the files in it */
void temp_directory_remove(const struct temp_directory *directory);

struct image_file {
    char name[64];
    uint8_t *data;
    size_t len;
};

/* The files of a directory, in the order of their names. */
struct directory_image {
    struct image_file files[64];
    size_t n;
};

void directory_image_load(struct directory_image *image, const char *path);
void directory_image_store(const struct directory_image *image, const struct temp_directory *directory); /* replaces all files */
void directory_image_remove(struct directory_image *image, const char *name);
struct image_file *directory_image_find(struct directory_image *image, const char *name); /* aborts if there is none */
void directory_image_destroy(struct directory_image *image);

/* Does to the files what a bad disk may do, up to 8 times, as the bytes say: a byte changed, a sector lost or written to
 * another place, a file cut off or gone, arbitrary bytes over what was there. */
void directory_image_damage(struct directory_image *image, const uint8_t *orders, size_t len);

#endif
