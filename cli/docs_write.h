/* The commands of docs that change documents that are there. */
#ifndef ARGON_CLI_DOCS_WRITE_H
#define ARGON_CLI_DOCS_WRITE_H

#include "cli/command.h"

CHECKED bool docs_update(struct cli *cli, struct error *err);
CHECKED bool docs_replace(struct cli *cli, struct error *err);
CHECKED bool docs_delete(struct cli *cli, struct error *err);
CHECKED bool docs_find_one_and_update(struct cli *cli, struct error *err);
CHECKED bool docs_find_one_and_replace(struct cli *cli, struct error *err);
CHECKED bool docs_find_one_and_delete(struct cli *cli, struct error *err);
CHECKED bool docs_bulk_write(struct cli *cli, struct error *err);

/* What became of the items of a request, as a JSON array with its NUL. */
void docs_append_errors(Argon__Branch__V1__ItemError *const *errors, size_t n, struct buffer *out);

enum {
    DOCS_N_UPDATE_OPTIONS = 6,
    DOCS_N_REPLACE_OPTIONS = 4,
    DOCS_N_DELETE_OPTIONS = 3,
    DOCS_N_FIND_ONE_AND_UPDATE_OPTIONS = 7,
    DOCS_N_FIND_ONE_AND_REPLACE_OPTIONS = 6,
    DOCS_N_FIND_ONE_AND_DELETE_OPTIONS = 4,
    DOCS_N_BULK_OPTIONS = 4,
};
extern const struct config_option docs_update_options[DOCS_N_UPDATE_OPTIONS];
extern const struct config_option docs_replace_options[DOCS_N_REPLACE_OPTIONS];
extern const struct config_option docs_delete_options[DOCS_N_DELETE_OPTIONS];
extern const struct config_option docs_find_one_and_update_options[DOCS_N_FIND_ONE_AND_UPDATE_OPTIONS];
extern const struct config_option docs_find_one_and_replace_options[DOCS_N_FIND_ONE_AND_REPLACE_OPTIONS];
extern const struct config_option docs_find_one_and_delete_options[DOCS_N_FIND_ONE_AND_DELETE_OPTIONS];
extern const struct config_option docs_bulk_options[DOCS_N_BULK_OPTIONS];

#endif
