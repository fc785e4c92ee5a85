/*
 * vthread/api.h - how the library exports its names.
 */
#ifndef VTHREAD_API_H
#define VTHREAD_API_H

#define VTHREAD_VERSION_MAJOR 0
#define VTHREAD_VERSION_MINOR 1
#define VTHREAD_VERSION_PATCH 0

#if defined __GNUC__
#define VTHREAD_API __attribute__((visibility("default")))
#else
#define VTHREAD_API
#endif

#if defined __cplusplus && !defined _Noreturn
#define _Noreturn __attribute__((noreturn)) /* after an attribute too */
#endif

#endif
