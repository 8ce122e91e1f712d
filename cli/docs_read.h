/* The commands of docs that read. */
#ifndef ARGON_CLI_DOCS_READ_H
#define ARGON_CLI_DOCS_READ_H

#include "cli/command.h"

CHECKED bool docs_find(struct cli *cli, struct error *err);
CHECKED bool docs_count(struct cli *cli, struct error *err);
CHECKED bool docs_distinct(struct cli *cli, struct error *err);
CHECKED bool docs_aggregate(struct cli *cli, struct error *err);
CHECKED bool docs_explain(struct cli *cli, struct error *err);

enum { DOCS_N_FIND_OPTIONS = 6, DOCS_N_COUNT_OPTIONS = 5, DOCS_N_AGGREGATE_OPTIONS = 2, DOCS_N_DISTINCT_OPTIONS = 1 };
extern const struct config_option docs_find_options[DOCS_N_FIND_OPTIONS];
extern const struct config_option docs_count_options[DOCS_N_COUNT_OPTIONS];
extern const struct config_option docs_aggregate_options[DOCS_N_AGGREGATE_OPTIONS];
extern const struct config_option docs_distinct_options[DOCS_N_DISTINCT_OPTIONS];

#endif
