/*
 * layout_test.c - what the library tells of itself, read as the tool does.
 */
#include <stddef.h>
#include <sys/mman.h>

#include "inspect/layout.h"
#include "tests/support.h"
#include "thread.h"
#include "tools/inspector/image.h"
#include "tools/inspector/inspector.h"
#include "tools/inspector/library.h"

static struct image *own_image(void)
{
    struct image *image = image_of_process(getpid());
    ck_assert_ptr_nonnull(image);
    return image;
}

static uint64_t address_of(const void *object)
{
    return (uint64_t)(uintptr_t)object;
}

START_TEST(each_name_is_there_once)
{
    for (unsigned i = 0; i < vthread_layout.entries; i++) {
        const char *name = vthread_layout.entry[i].name;
        ck_assert_uint_gt(strlen(name), 0);
        ck_assert_uint_lt(strlen(name), sizeof vthread_layout.entry[i].name);
        for (unsigned j = 0; j < i; j++)
            ck_assert_str_ne(name, vthread_layout.entry[j].name);
    }
}
END_TEST

START_TEST(it_is_found_by_what_it_looks_like)
{
    struct image *image = own_image();
    ck_assert_uint_eq(library_find(image), address_of(&vthread_layout));
    image_close(image);
}
END_TEST

START_TEST(a_reader_finds_the_fields_and_their_sizes)
{
    struct library library;
    struct image *image = own_image();
    ck_assert_int_eq(
        library_open(&library, image, address_of(&vthread_layout)),
        STATUS_FINE);
    ck_assert_str_eq(library.version, PACKAGE_VERSION);
    ck_assert_uint_eq(library.value[SIZE_thread], sizeof(struct thread));
    ck_assert_uint_eq(library.value[IS_THREAD_DONE], THREAD_DONE);
    ck_assert_int_eq(thread_table_init(), 0);
    struct thread *t = thread_alloc();
    uint64_t table;
    ck_assert(image_read(image, library.value[ADDRESS_thread_table], &table,
                         sizeof table));
    ck_assert_uint_eq(table, address_of(thread_table));
    t->argument = t;
    t->scheduler = 200;
    ck_assert_uint_eq(library_field(&library, t, AT_thread_word),
                      atomic_load(&t->word));
    ck_assert_uint_eq(library_field(&library, t, AT_thread_argument),
                      address_of(t));
    ck_assert_uint_eq(
        library_peek(&library, image, address_of(t), AT_thread_scheduler),
        200);
    thread_free(t);
    image_close(image);
}
END_TEST

/* ---- Other versions ----------------------------------------------------- */

static struct vthread_layout changed;

static int open_changed(struct library *library)
{
    struct image *image = own_image();
    changed.self = &changed;
    int status = library_open(library, image, address_of(&changed));
    image_close(image);
    return status;
}

START_TEST(fields_that_have_moved_are_found)
{
    struct library library;
    changed = vthread_layout;
    struct layout_entry moved = changed.entry[AT_thread_word];
    moved.value += 64;
    changed.entry[AT_thread_word] = changed.entry[SIZE_thread];
    changed.entry[SIZE_thread] = moved;
    ck_assert_int_eq(open_changed(&library), STATUS_FINE);
    ck_assert_uint_eq(library.value[AT_thread_word],
                      offsetof(struct thread, word) + 64);
    ck_assert_uint_eq(library.value[SIZE_thread], sizeof(struct thread));
}
END_TEST

START_TEST(a_field_that_has_gone_is_told)
{
    struct library library;
    changed = vthread_layout;
    strcpy(changed.entry[AT_thread_word].name, "thread.sentence");
    ck_assert_int_eq(open_changed(&library), STATUS_TARGET);
}
END_TEST

START_TEST(another_version_of_the_description_is_refused)
{
    struct library library;
    changed = vthread_layout;
    changed.version++;
    ck_assert_int_eq(open_changed(&library), STATUS_TARGET);
}
END_TEST

START_TEST(nonsense_is_refused)
{
    struct library library;
    changed = vthread_layout;
    changed.magic[3] ^= 1;
    ck_assert_int_eq(open_changed(&library), STATUS_TARGET);
    changed = vthread_layout;
    changed.entries = UINT32_MAX;
    ck_assert_int_eq(open_changed(&library), STATUS_TARGET);
    changed = vthread_layout;
    changed.entry_bytes = 0;
    ck_assert_int_eq(open_changed(&library), STATUS_TARGET);
    struct image *image = own_image();
    ck_assert_int_eq(library_open(&library, image, 0), STATUS_TARGET);
    ck_assert_int_eq(library_open(&library, image, 4096), STATUS_TARGET);
    image_close(image);
}
END_TEST

/* ---- Memory ------------------------------------------------------------- */

START_TEST(parts_that_cannot_be_read_do_not_keep_others_from_it)
{
    enum { COUNT = 2000 };
    static uint64_t from[COUNT], to[COUNT];
    static struct image_part parts[COUNT];
    struct image *image = own_image();
    for (unsigned i = 0; i < COUNT; i++) {
        from[i] = i + 1;
        bool is_bad = i % 700 == 3 || i == COUNT - 1;
        parts[i] = (struct image_part){.address = is_bad
                                                      ? 4096
                                                      : address_of(&from[i]),
                                       .buffer = &to[i],
                                       .size_bytes = sizeof to[i]};
    }
    image_read_parts(image, parts, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        bool is_bad = i % 700 == 3 || i == COUNT - 1;
        ck_assert_int_eq(parts[i].is_read, !is_bad);
        ck_assert_uint_eq(to[i], is_bad ? 0 : i + 1);
    }
    image_close(image);
}
END_TEST

START_TEST(a_file_that_is_no_core_is_refused)
{
    const char *why;
    ck_assert_ptr_null(image_of_core("/proc/self/exe", &why));
    ck_assert_str_eq(why, "it is no core file");
    ck_assert_ptr_null(image_of_core("/dev/null", &why));
    ck_assert_str_eq(why, "it is no core file");
    ck_assert_ptr_null(image_of_core("/nowhere/at/all", &why));
    ck_assert_str_eq(why, "it cannot be opened");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("layout");
    TCase *cases = new_case(suite, "layout");
    tcase_add_test(cases, each_name_is_there_once);
    tcase_add_test(cases, it_is_found_by_what_it_looks_like);
    tcase_add_test(cases, a_reader_finds_the_fields_and_their_sizes);
    tcase_add_test(cases, fields_that_have_moved_are_found);
    tcase_add_test(cases, a_field_that_has_gone_is_told);
    tcase_add_test(cases, another_version_of_the_description_is_refused);
    tcase_add_test(cases, nonsense_is_refused);
    tcase_add_test(cases,
                   parts_that_cannot_be_read_do_not_keep_others_from_it);
    tcase_add_test(cases, a_file_that_is_no_core_is_refused);
    return run_suite(suite);
}
