/* replay.c - runs a fuzz target over files and the files of folders: the corpus as a plain test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path, size_t size)
{
    uint8_t *data = malloc(size ? size : 1); /* exactly as long: an over-read is seen */
    FILE *f = fopen(path, "rb");
    if (!data || !f || fread(data, 1, size, f) != size) {
        perror(path);
        exit(1);
    }
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

static int run_folder(const char *path)
{
    int n = 0;
    char inner[4096];
    struct dirent *e;
    DIR *d = opendir(path);
    while (d && (e = readdir(d)) != NULL) {
        struct stat s;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (stat(inner, &s) == 0 && S_ISREG(s.st_mode))
            n += run_file(inner, (size_t)s.st_size);
    }
    if (d)
        closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        struct stat s;
        if (stat(argv[i], &s) < 0) {
            perror(argv[i]);
            return 1;
        }
        n += S_ISDIR(s.st_mode) ? run_folder(argv[i]) : run_file(argv[i], (size_t)s.st_size);
    }
    printf("%d inputs\n", n);
    return n == 0; /* an empty corpus tests nothing */
}
