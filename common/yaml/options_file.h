/* Options of a program from a YAML file: one mapping, whose keys are the names of the options.
 *
 *     listen: 127.0.0.1:7800
 *     memory: 2G
 *     enable-wal-branches: true
 */
#ifndef ARGON_YAML_OPTIONS_FILE_H
#define ARGON_YAML_OPTIONS_FILE_H

#include "common/base/arena.h"
#include "common/base/config.h"

/* The option that names the file, a row of the program's table. */
#define OPTIONS_FILE_ROW(place, environment)                                                                                               \
    {                                                                                                                                      \
        .name = "config", .kind = CONFIG_STRING, .target = (place), .variable = (environment), .argument = "FILE",                         \
        .help = "YAML file of options: their names are the keys"                                                                           \
    }

/* config_parse_with_file, with the file that command line or environment name; `place` is the target of the row. Strings
 * live in the arena, too. */
CHECKED bool options_file_parse(const struct config_table *tables, size_t n_tables, int argc, char **argv, const char **place,
                                struct arena *arena, struct config_origin *origins, struct error *err);

#endif
