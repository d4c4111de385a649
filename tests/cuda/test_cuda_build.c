/* test_cuda_build.c - the module that nvcc and libtool made opens, has one symbol, and works where a GPU is. */
#include <check.h>
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

static void *module;

START_TEST(the_module_opens_with_all_symbols_bound)
{
    ck_assert_msg(module != NULL, "%s", dlerror());
}
END_TEST

START_TEST(only_the_named_symbol_is_exported)
{
    ck_assert_ptr_nonnull(module);
    ck_assert_ptr_nonnull(dlsym(module, "cuda_build_probe"));
    void *runtime = dlsym(module, "cudaMalloc");
    ck_assert_msg(runtime == NULL, "the static CUDA runtime leaks out of the module");
}
END_TEST

START_TEST(the_kernel_runs_where_a_device_is)
{
    void (*probe)(int *, size_t *, int *);
    *(void **)&probe = dlsym(module, "cuda_build_probe");
    ck_assert_ptr_nonnull(*(void **)&probe);

    int devices = 0, rc = -1;
    size_t version = 0;
    probe(&devices, &version, &rc);
    ck_assert_uint_gt(version, 0);
    ck_assert_int_eq(rc, 0);
}
END_TEST

int main(void)
{
    module = dlopen(CUDA_BUILD_PROBE, RTLD_NOW | RTLD_LOCAL);
    Suite *suite = suite_create("cuda build");
    TCase *tc = tcase_create("module");
    tcase_add_test(tc, the_module_opens_with_all_symbols_bound);
    tcase_add_test(tc, only_the_named_symbol_is_exported);
    tcase_add_test(tc, the_kernel_runs_where_a_device_is);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK); /* CUDA does not survive fork() */
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
