/* Keeps the prefix's services and desktop alive, started with nothing for its standard handles. Otherwise the
* first test that needs a window would start them, they would inherit its pipes, and a reader of those
* would never see their end. Creates the file that its argument names once everything is running. */
#include <windows.h>

int wmain(int count, wchar_t **arguments) {
  GetDesktopWindow();
  CreateWindowA("STATIC", "keeper", 0, 0, 0, 1, 1, HWND_MESSAGE, 0, 0, 0);
  if (count > 1)
    CloseHandle(CreateFileW(arguments[1], GENERIC_WRITE, 0, 0, CREATE_ALWAYS, 0, 0));
  Sleep(2 * 3600 * 1000);
  return 0;
}
