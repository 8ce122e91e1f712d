#include <string.h>

#include "cli/command.h"
#include "cli/config_calls.h"

static bool config_get(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__GetConfigRequest request = ARGON__BRANCH__V1__GET_CONFIG_REQUEST__INIT;
    request.key = (char *)cli->args[0];
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Admin", "GetConfig"), &request.base,
                         &argon__branch__v1__get_config_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__ConfigValue *value = ((const Argon__Branch__V1__GetConfigResponse *)message)->value;
    if (!value)
        return error_set(err, ERROR_INTERNAL, "the service answered without a value");
    const struct field fields[] = { FIELD_STRING("key", value->key), FIELD_OPTIONAL("value", value->value),
                                    FIELD_STRING("source", config_source_name(value->source)) };
    output_object(&cli->out, fields, ARRAY_LEN(fields));
    return true;
}

static bool config_set_one(struct cli *cli, struct error *err)
{
    const struct config_pair pair = { cli->args[0], cli->args[1] };
    if (!config_set(cli, &pair, 1, err))
        return false;
    const struct field fields[] = { FIELD_STRING("key", pair.key), FIELD_STRING("value", pair.value), FIELD_STRING("source", "catalog") };
    char sentence[256];
    snprintf(sentence, sizeof sentence, "Set %s to %s; all replicas go by it within a second.", pair.key, pair.value);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool config_unset(struct cli *cli, struct error *err)
{
    char *key = (char *)cli->args[0];
    Argon__Branch__V1__UnsetConfigRequest request = ARGON__BRANCH__V1__UNSET_CONFIG_REQUEST__INIT;
    Argon__Branch__V1__WriteOptions write;
    ProtobufCMessage *message;
    if (!connection_begin_write(&cli->connection, NULL, &cli->arena, &write, err))
        return false;
    request.keys = &key;
    request.n_keys = 1;
    request.write = &write;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Admin", "UnsetConfig"), &request.base,
                          &argon__branch__v1__unset_config_response__descriptor, &cli->arena, &message, err))
        return false;
    const struct field fields[] = { FIELD_STRING("key", key), FIELD_BOOL("unset", true) };
    char sentence[256];
    snprintf(sentence, sizeof sentence, "Unset %s in the catalog; each replica goes by what it was started with.", key);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool list_replica(struct cli *cli, const char *endpoint, struct error *err)
{
    struct global_options options = *cli->options;
    struct connection connection;
    const Argon__Branch__V1__ListConfigResponse *response;
    options.endpoint = endpoint;
    if (!connection_open(&connection, &options, err))
        return false;
    bool ok = config_list(cli, &connection, &response, err) || error_wrap(err, "%s", endpoint);
    for (size_t i = 0; ok && i < response->n_values; i++) {
        const Argon__Branch__V1__ConfigValue *value = response->values[i];
        const struct field fields[] = { FIELD_STRING("key", value->key), FIELD_OPTIONAL("value", value->value),
                                        FIELD_STRING("source", config_source_name(value->source)), FIELD_STRING("replica", endpoint) };
        output_list_row(&cli->out, fields, ARRAY_LEN(fields));
    }
    connection_close(&connection);
    return ok;
}

/* What replicas were started with can differ, so each of the endpoint's addresses is asked. */
static bool config_list_all(struct cli *cli, struct error *err)
{
    char *endpoints = arena_strdup(&cli->arena, cli->options->endpoint), *rest = NULL;
    if (!endpoints)
        return error_out_of_memory(err);
    bool ok = true;
    output_list_begin(&cli->out);
    for (char *endpoint = strtok_r(endpoints, ",", &rest); ok && endpoint; endpoint = strtok_r(NULL, ",", &rest))
        ok = list_replica(cli, endpoint, err);
    output_list_end(&cli->out);
    return ok;
}

#define KEYS "wal.enabled|wal.new_branches_only|wal.cutoff|wal.rollout_percent"

static const struct command commands[] = {
    { "get", KEYS, "Show a flag as the branch service goes by it, and where its value comes from", "argon config get wal.enabled", 1, 1,
      config_get, NULL, 0, NULL },
    { "list", "", "Show all flags; with several replicas in the endpoint, those of each", "argon config list -o json", 0, 0,
      config_list_all, NULL, 0, NULL },
    { "set", KEYS " VALUE", "Set a flag for all replicas; it wins over what they were started with",
      "argon config set wal.rollout_percent 25", 2, 2, config_set_one, NULL, 0, NULL },
    { "unset", KEYS, "Take a value back, so that each replica goes by what it was started with", "argon config unset wal.cutoff", 1, 1,
      config_unset, NULL, 0, NULL },
};

const struct command_group config_group = { "config", "Choose which new branches become WAL branches", commands, ARRAY_LEN(commands),
                                            GROUP_REMOTE };
