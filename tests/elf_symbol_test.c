/*
 * elf_symbol_test.c - where this very program keeps its names, and files that
 * are damaged.
 */
#include <fcntl.h>
#include <link.h>

#include "tests/support.h"
#include "tools/inspector/elf_symbol.h"

int a_name_of_this_test;

static struct elf_symbol symbol;

/* Relocation of the program itself: it is the first object. */
static int program_bias(struct dl_phdr_info *info, size_t size, void *bias)
{
    (void)size;
    *(uint64_t *)bias = info->dlpi_addr;
    return 1;
}

static char *read_program(size_t *bytes)
{
    char *contents = malloc(1 << 24);
    FILE *file = fopen("/proc/self/exe", "r");
    *bytes = fread(contents, 1, 1 << 24, file);
    ck_assert(feof(file));
    fclose(file);
    return contents;
}

static enum elf_found find_in(const char *contents, size_t bytes)
{
    char path[] = "/tmp/elf_symbol_test.XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_eq(write(fd, contents, bytes), (ssize_t)bytes);
    close(fd);
    enum elf_found found =
        elf_symbol_find(path, "a_name_of_this_test", &symbol);
    unlink(path);
    return found;
}

START_TEST(a_name_is_found_where_it_is)
{
    uint64_t bias = 0;
    dl_iterate_phdr(program_bias, &bias);
    ck_assert_int_eq(
        elf_symbol_find("/proc/self/exe", "a_name_of_this_test", &symbol),
        ELF_FOUND);
    ck_assert_uint_eq(bias + symbol.value, (uintptr_t)&a_name_of_this_test);
}
END_TEST

START_TEST(a_name_that_is_only_part_of_another_is_not_found)
{
    ck_assert_int_eq(
        elf_symbol_find("/proc/self/exe", "a_name_of_this_tes", &symbol),
        ELF_ABSENT);
}
END_TEST

START_TEST(a_name_that_is_only_used_is_not_found)
{
    ck_assert_int_eq(elf_symbol_find("/proc/self/exe", "mkstemp", &symbol),
                     ELF_ABSENT);
}
END_TEST

START_TEST(what_is_no_plain_file_is_not_opened)
{
    ck_assert_int_eq(elf_symbol_find("/dev/zero", "x", &symbol), ELF_NO_FILE);
    ck_assert_int_eq(elf_symbol_find("/nowhere/x", "x", &symbol), ELF_NO_FILE);
    ck_assert_int_eq(elf_symbol_find("/etc/passwd", "x", &symbol), ELF_ABSENT);
}
END_TEST

START_TEST(a_file_that_ends_early_has_no_names_and_harms_nobody)
{
    size_t bytes;
    char *contents = read_program(&bytes);
    ck_assert_int_eq(find_in(contents, bytes), ELF_FOUND);
    for (size_t keep = 0; keep < bytes; keep += 1 + bytes / 50)
        ck_assert_int_eq(find_in(contents, keep), ELF_ABSENT);
    free(contents);
}
END_TEST

START_TEST(a_header_of_nonsense_harms_nobody)
{
    size_t bytes;
    char *contents = read_program(&bytes);
    for (size_t at = 16; at < sizeof(ElfW(Ehdr)); at++) {
        char was = contents[at];
        contents[at] = (char)0xf7;
        find_in(contents, bytes);
        contents[at] = was;
    }
    /* Every section's own header: offset, size, link. */
    ElfW(Ehdr) header;
    memcpy(&header, contents, sizeof header);
    for (unsigned i = 0; i < header.e_shnum; i++) {
        ElfW(Shdr) *section = (void *)(contents + header.e_shoff);
        ElfW(Shdr) was = section[i];
        section[i].sh_offset = UINT64_MAX - 7;
        ck_assert_int_le(find_in(contents, bytes), ELF_ABSENT);
        section[i] = was;
        section[i].sh_size = UINT64_MAX;
        ck_assert_int_le(find_in(contents, bytes), ELF_ABSENT);
        section[i] = was;
        section[i].sh_link = UINT32_MAX;
        ck_assert_int_le(find_in(contents, bytes), ELF_ABSENT);
        section[i] = was;
    }
    free(contents);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("elf_symbol");
    TCase *cases = tcase_create("names");
    tcase_set_timeout(cases, PATIENCE_S);
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, a_name_is_found_where_it_is);
    tcase_add_test(cases, a_name_that_is_only_part_of_another_is_not_found);
    tcase_add_test(cases, a_name_that_is_only_used_is_not_found);
    tcase_add_test(cases, what_is_no_plain_file_is_not_opened);
    tcase_add_test(cases,
                   a_file_that_ends_early_has_no_names_and_harms_nobody);
    tcase_add_test(cases, a_header_of_nonsense_harms_nobody);
    return run_suite(suite);
}
