#include "cli/config_calls.h"

bool config_list(struct cli *cli, struct connection *connection, const Argon__Branch__V1__ListConfigResponse **response, struct error *err)
{
    const Argon__Branch__V1__ListConfigRequest request = ARGON__BRANCH__V1__LIST_CONFIG_REQUEST__INIT;
    ProtobufCMessage *message;
    if (!connection_read(connection, BRANCH_METHOD("Admin", "ListConfig"), &request.base,
                         &argon__branch__v1__list_config_response__descriptor, &cli->arena, &message, err))
        return false;
    *response = (const void *)message;
    return true;
}

bool config_set(struct cli *cli, const struct config_pair *pairs, size_t n, struct error *err)
{
    Argon__Branch__V1__SetConfigRequest request = ARGON__BRANCH__V1__SET_CONFIG_REQUEST__INIT;
    Argon__Branch__V1__ConfigSetting *settings = arena_alloc(&cli->arena, n * sizeof *settings);
    Argon__Branch__V1__ConfigSetting **pointers = arena_alloc(&cli->arena, n * sizeof(void *));
    Argon__Branch__V1__WriteOptions write;
    ProtobufCMessage *message;
    if (!settings || !pointers)
        return error_out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        settings[i] = (Argon__Branch__V1__ConfigSetting)ARGON__BRANCH__V1__CONFIG_SETTING__INIT;
        settings[i].key = (char *)pairs[i].key;
        settings[i].value = (char *)pairs[i].value;
        pointers[i] = &settings[i];
    }
    if (!connection_begin_write(&cli->connection, NULL, &cli->arena, &write, err))
        return false;
    request.settings = pointers;
    request.n_settings = n;
    request.write = &write;
    return connection_write(&cli->connection, BRANCH_METHOD("Admin", "SetConfig"), &request.base,
                            &argon__branch__v1__set_config_response__descriptor, &cli->arena, &message, err);
}

const char *config_source_name(Argon__Branch__V1__ConfigSource source)
{
    switch (source) {
    case ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_DEFAULT:
        return "default";
    case ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_FILE:
        return "file";
    case ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_ENVIRONMENT:
        return "environment";
    case ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_FLAG:
        return "flag";
    case ARGON__BRANCH__V1__CONFIG_SOURCE__CONFIG_SOURCE_CATALOG:
        return "catalog";
    case _ARGON__BRANCH__V1__CONFIG_SOURCE_IS_INT_SIZE:
        break;
    }
    return "unknown"; /* a newer service's */
}
