@echo off
rem Runs the programs that bundles of slipcast left for the first boot, in their
rem order: docs/bundles.md, section 9.8. Needs nothing that is not in every
rem Windows: cmd, findstr, icacls, ping, schtasks and shutdown.
rem
rem usage: firstboot.cmd [setup]
rem
rem setup is what SetupComplete.cmd says, which must not restart the system.
setlocal EnableExtensions DisableDelayedExpansion
if "%~1"==":child" goto child
set "self=%~f0"
set "here=%~dp0"
set "mode=%~1"
set "reboot=no"
call :lock
if "%mode%"=="setup" goto setup
rem While Windows sets itself up, it is SetupComplete.cmd that runs this.
set "state=%SystemRoot%\Setup\State\State.ini"
if not exist "%state%" goto queue
findstr /i /c:"IMAGE_STATE_" "%state%" | findstr /v /i /c:"IMAGE_STATE_COMPLETE" >nul && exit /b 0
goto queue

rem What is cut short or waits for a restart goes on at the next start.
:setup
schtasks /create /f /tn slipcast-firstboot /sc onstart /ru SYSTEM /tr "%self%" >nul

:queue
for /f "delims=" %%e in ('dir /b /ad /on "%here%queue" 2^>nul') do call :entry "%here%queue\%%e" || goto end
:end
if "%mode%"=="setup" exit /b 0
if "%reboot%"=="yes" shutdown /r /t 5 /c "slipcast: programs of the first boot"
exit /b 0

rem lock: nobody but the system and administrators touches what runs here. What
rem was laid from outside of Windows may have no owner that it knows.
:lock
icacls "%here%." /setowner *S-1-5-18 /t /c /q >nul
icacls "%here%." /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F /q >nul
icacls "%here%*" /reset /t /c /q >nul
exit /b 0

rem entry ENTRY runs it if it has to be run, and fails if none behind it may.
:entry
if not exist "%~1\rules.cmd" exit /b 0
set "halt=no"
if exist "%~1\result" call :settle "%~1"
if not exist "%~1\result" call :run "%~1"
if "%halt%"=="yes" exit /b 1
set "result=none"
set /p result=<"%~1\result"
if "%result:~0,3%"=="ok " exit /b 0
if "%result:~0,7%"=="reboot " exit /b 0
exit /b 1

rem run ENTRY runs its program.
:run
set "ok="
set "reboots="
set "limit=60"
set "retry=safe"
set "between=no"
call "%~1\rules.cmd"
set "tries=0"
if exist "%~1\started" set /p tries=<"%~1\started"
if %tries% geq 5 goto cut
if not "%tries%"=="0" if "%retry%"=="never" goto cut
if exist "%~1\code" del /f "%~1\code"
set /a tries+=1
call :put "%~1\started" "%tries%" || goto halt
start "" /b "%ComSpec%" /d /c call "%self%" :child "%~1"
set "waited=0"
:wait
if exist "%~1\code" goto judge
if %waited% geq %limit% goto late
ping -n 2 127.0.0.1 >nul
set /a waited+=1
goto wait

:cut
call :finish "%~1" "cut"
exit /b

rem The program may still run: cmd alone cannot find out which process it is.
:late
call :finish "%~1" "timeout"
exit /b

:halt
set "halt=yes"
exit /b

:judge
set "code=none"
set /p code=<"%~1\code"
for %%c in (none %ok%) do if "%%c"=="%code%" goto good
for %%c in (none %reboots%) do if "%%c"=="%code%" goto again
call :finish "%~1" "failed %code%"
exit /b

:good
call :finish "%~1" "ok %code%"
exit /b

rem 1641 says that the program restarts the system itself.
:again
call :finish "%~1" "reboot %code%"
if "%code%"=="1641" goto halt
set "reboot=yes"
if "%between%"=="yes" goto halt
exit /b

rem finish ENTRY RESULT says how its program ended.
:finish
call :put "%~1\result" "%~2" || goto halt
call :settle "%~1"
exit /b

rem settle ENTRY takes away what an entry with a result does not need: what it
rem was run with may be secret.
:settle
del /f /q "%~1\todo" "%~1\run.cmd" "%~1\code" 2>nul
exit /b 0

rem put FILE TEXT makes FILE hold TEXT.
:put
>"%~1.new" echo %~2
move /y "%~1.new" "%~1" >nul
exit /b

rem child ENTRY is a process of its own that outlives a runner which gave up.
:child
"%ComSpec%" /d /c call "%~2\run.cmd" >"%~2\log" 2>&1 <nul
>"%~2\code.new" echo %errorlevel%
move /y "%~2\code.new" "%~2\code" >nul
exit /b 0
