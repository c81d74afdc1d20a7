/* Find the parts of a buffer that are not zero: holes of a process stay holes in its dump. */

#include <stddef.h>
#include <string.h>

static int is_zero(const char *page, size_t size) {
  return page[0] == 0 && memcmp(page, page + 1, size - 1) == 0;
}

/* From `from` on, in steps of a page: the first that is not zero, and in *end the first zero one after it.
* Returns size if nothing is left. */
size_t pmr_find_nonzero(const char *data, size_t size, size_t from, size_t page, size_t *end) {
  size_t start = from;
  while (start < size && is_zero(data + start, size - start < page ? size - start : page))
    start += page;
  if (start >= size) {
    *end = size;
    return size;
  }
  size_t at = start + page;
  while (at < size && !is_zero(data + at, size - at < page ? size - at : page)) at += page;
  *end = at < size ? at : size;
  return start;
}
