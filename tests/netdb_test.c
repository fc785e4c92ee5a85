/*
 * netdb_test.c - names and addresses, without a network.
 */
#include <vthread/netdb.h>

#include "tests/descriptors.h"

static void *resolves(void *arg)
{
    struct addrinfo hints
        = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    const struct sockaddr_in *address;
    int reason = 77;
    require(vthread_getaddrinfo("localhost", "80", &hints, &list, &reason)
            == 0);
    require(reason == 0 && list);
    address = (const struct sockaddr_in *)list->ai_addr;
    require(address->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    require(address->sin_port == htons(80));
    freeaddrinfo(list);
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    require(vthread_getaddrinfo("192.0.2.7", "8080", &hints, &list, NULL)
            == 0);
    address = (const struct sockaddr_in *)list->ai_addr;
    require(address->sin_addr.s_addr == htonl(0xc0000207));
    char host[64], service[32];
    require(vthread_getnameinfo(list->ai_addr, list->ai_addrlen, host,
                                sizeof host, service, sizeof service,
                                NI_NUMERICHOST | NI_NUMERICSERV, &reason)
            == 0);
    require(reason == 0);
    require(strcmp(host, "192.0.2.7") == 0 && strcmp(service, "8080") == 0);
    freeaddrinfo(list);
    return arg;
}

START_TEST(names_and_numbers_are_resolved)
{
    on_both_kinds(resolves);
}
END_TEST

START_TEST(many_resolve_at_once_on_one_carrier)
{
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t threads[200];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, resolves, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

static void *fails(void *arg)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
    struct addrinfo *list = NULL;
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[4];
    int reason = 77;
    ck_assert_int_eq(
        vthread_getaddrinfo("no number", "80", &hints, &list, &reason),
        ENOENT);
    ck_assert_int_eq(reason, EAI_NONAME);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    ck_assert_int_ne(
        vthread_getaddrinfo("127.0.0.1", "http!", &hints, &list, &reason), 0);
    ck_assert_int_eq(reason, EAI_NONAME);
    hints.ai_flags = -1;
    ck_assert_int_eq(
        vthread_getaddrinfo("127.0.0.1", "80", &hints, &list, &reason),
        EINVAL);
    ck_assert_int_eq(reason, EAI_BADFLAGS);
    ck_assert_int_eq(vthread_getaddrinfo(NULL, NULL, NULL, &list, NULL),
                     ENOENT);
    ck_assert_ptr_null(list);
    ck_assert_int_eq(vthread_getnameinfo((struct sockaddr *)&address,
                                         sizeof address, host, sizeof host,
                                         NULL, 0, NI_NUMERICHOST, &reason),
                     EOVERFLOW);
    ck_assert_int_eq(reason, EAI_OVERFLOW);
    return arg;
}

START_TEST(failures_have_an_error_and_a_reason)
{
    on_both_kinds(fails);
}
END_TEST

START_TEST(a_result_without_a_place_is_refused)
{
    ck_assert_int_eq(
        vthread_getaddrinfo("127.0.0.1", NULL, NULL, NULL, NULL), EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netdb");
    TCase *cases = new_case(suite, "netdb");
    tcase_add_test(cases, names_and_numbers_are_resolved);
    tcase_add_test(cases, many_resolve_at_once_on_one_carrier);
    tcase_add_test(cases, failures_have_an_error_and_a_reason);
    tcase_add_test(cases, a_result_without_a_place_is_refused);
    return run_suite(suite);
}
