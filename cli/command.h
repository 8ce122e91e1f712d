/* What a command is, and what it is run with.
 *
 * A group is a table of rows; main finds the row, parses the options, connects and runs it. A command
 * returns false with an error; main prints it and turns it into the exit code.
 */
#ifndef ARGON_CLI_COMMAND_H
#define ARGON_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "argon/branch/v1/branch.pb-c.h"
#include "cli/connect.h"
#include "cli/output.h"
#include "common/base/arena.h"
#include "common/base/config.h"
#include "common/base/error.h"

struct global_options {
    const char *endpoint;
    const char *project;
    const char *branch;
    uint64_t timeout; /* microseconds; 0: not given */
    const char *output;
    bool canonical;
    const char *request_id; /* "": a random one */
    uint64_t since_lsn;     /* 0: asked for */
    uint64_t min_lsn;
    const char *actor;
    bool yes;
};

struct cli {
    const struct global_options *options;
    const char *const *args; /* positionals behind the command's name */
    size_t n_args;
    struct connection connection;
    struct output out;
    struct arena arena; /* lives as long as the command */
};

struct command {
    const char *name;  /* NULL, of the first: the group itself is the command, when none of the others is named */
    const char *usage; /* positionals and options */
    const char *summary;
    const char *example;
    size_t min_args, max_args;
    bool (*run)(struct cli *cli, struct error *err);
    const struct config_option *options;
    size_t n_options;
    const struct config_table *shared; /* further options, which several commands have; NULL: none */
};

enum group_kind {
    GROUP_REMOTE, /* its commands talk to a branch service */
    GROUP_LOCAL,  /* they need none */
    GROUP_HIDDEN, /* local, and not shown among the commands */
};

struct command_group {
    const char *name;
    const char *summary;
    const struct command *commands;
    size_t n_commands;
    enum group_kind kind;
};

enum { ANY_NUMBER_OF_ARGS = 100000 };

extern const struct command_group projects_group;
extern const struct command_group branches_group;
extern const struct command_group collections_group;
extern const struct command_group docs_group;
extern const struct command_group import_group;
extern const struct command_group export_group;
extern const struct command_group checkout_group;
extern const struct command_group release_group;
extern const struct command_group status_group;
extern const struct command_group log_group;
extern const struct command_group watch_group;
extern const struct command_group materialize_group;
extern const struct command_group config_group;
extern const struct command_group rollout_group;
extern const struct command_group migrate_group;
extern const struct command_group context_group;
extern const struct command_group completion_group;
extern const struct command_group help_group;

/* INVALID_ARGUMENT when neither -p nor ARGON_PROJECT names one. */
CHECKED bool cli_project(const struct cli *cli, char **project, struct error *err);
/* Project, branch and the collection. */
CHECKED bool cli_target(const struct cli *cli, const char *collection, Argon__Branch__V1__Target *target, struct error *err);
/* Extended JSON from the command line; `what` names it in errors. The bytes live in the arena. */
CHECKED bool cli_document(struct cli *cli, const char *what, const char *json, Argon__Branch__V1__Document *document, struct error *err);
/* An array of documents, such as a pipeline, likewise. */
CHECKED bool cli_documents(struct cli *cli, const char *what, const char *json, Argon__Branch__V1__Document ***documents, size_t *n,
                           struct error *err);
/* To the service an update without operators is a replacement, and who forgot the $set has lost a document then. Here, as in
 * MongoDB's shell, `instead` is for that. INVALID_ARGUMENT, likewise for a pipeline without stages. */
CHECKED bool cli_check_update(const Argon__Branch__V1__Document *update, bool is_pipeline, size_t n_stages, const char *instead,
                              struct error *err);
/* The text of --hint: the name of an index, or its keys as a document; "" is none. */
CHECKED bool cli_hint(struct cli *cli, const char *text, Argon__Branch__V1__QueryOptions *options, struct error *err);
/* For commands of many writes that choose their ids by themselves. INVALID_ARGUMENT when --request-id or --since-lsn is given. */
CHECKED bool cli_refuse_request_id(const struct cli *cli, struct error *err);
/* A short call, within --timeout: is the branch there, and --min-lsn visible? Before a stream that has no deadline. stale_ok: for all
 * that the replica knows, without asking the log. */
CHECKED bool cli_reach_branch(struct cli *cli, const char *project, const char *branch, bool stale_ok, struct error *err);
/* By which project and branch are the same, whatever they are called; and whether the branch is a traditional one. */
CHECKED bool cli_find_ids(struct cli *cli, const char **project_id, const char **branch_id, bool *traditional, struct error *err);
/* Prints a list of many pages: `print` is given each, and returns the token of the next one. page_token is a field of the request. */
typedef char *cli_page_fn(struct cli *cli, const ProtobufCMessage *page);
CHECKED bool cli_print_pages(struct cli *cli, const char *method, const ProtobufCMessage *request, char **page_token,
                             const ProtobufCMessageDescriptor *response_type, cli_page_fn *print, struct error *err);
/* Asks before something is lost, unless --yes was given. CANCELLED when it is not wanted, INVALID_ARGUMENT when nobody can be asked. */
CHECKED bool cli_confirm(const struct cli *cli, struct error *err, const char *question, ...) PRINTF_LIKE(3, 4);

#endif
