// call_from_cxx.cc - a C++ caller of libairlock whose own functions are named like some inside the library.
#include <airlock/airlock.h>
#include <cstdio>

// Names that libairlock.a uses inside: they must not meet ours.
extern "C" int bytes_add(void *, const void *, unsigned long)
{
    std::puts("the library called the program's bytes_add");
    return -1;
}
extern "C" int base64_encode(const void *, unsigned long, void *)
{
    return -1;
}

int main(int argc, char **argv)
{
    airlock_error err;
    airlock_message message = { "user", "hello" };
    airlock_image image = { "x", 1 };
    if (argc < 2)
        return 2;
    char *answer = airlock_call_model_server("phi", "echo", &message, 1, &image, 1, 0, 0, argv[1], &err);
    if (!answer) {
        std::fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    std::puts(answer);
    airlock_free(answer);
    return bytes_add(0, 0, 0) + base64_encode(0, 0, 0) == -2 ? 0 : 1;
}
