"""The app without Android Studio: `python -m android_demo.verify apk` and `test`. See android_demo/README.md."""
