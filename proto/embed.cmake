# cmake -DINPUT=descriptors.pb -DOUTPUT=descriptors.c -P embed.cmake: the bytes of a file as a C array.
file(READ ${INPUT} bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"proto/descriptors.h\"

static const uint8_t descriptor_set[] = {
${bytes}
};
const struct rpc_reflection argon_reflection = { descriptor_set, sizeof descriptor_set };
")
