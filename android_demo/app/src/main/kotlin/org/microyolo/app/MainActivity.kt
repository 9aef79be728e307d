package org.microyolo.app

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Bundle
import android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS
import android.view.View
import kotlin.math.roundToInt
import org.microyolo.core.Notice
import org.microyolo.core.Screen

/** The one screen: the camera's or a photo's picture with what is found in it, and the controls. */
class MainActivity :
    Activity(),
    Screen.Listener {
    private lateinit var settings: Settings
    private lateinit var session: Session
    private lateinit var controls: Controls
    private lateinit var viewfinder: Viewfinder
    private lateinit var stage: Stage
    private var photo: Uri? = null
    private var resumed = false
    private var asked = false

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        drawBehindBars(window)
        setContentView(R.layout.main)
        settings = Settings(getSharedPreferences("settings", MODE_PRIVATE))
        val kept = lastNonConfigurationInstance as Session?
        session = kept ?: Session(this)
        viewfinder = Viewfinder(this, findViewById(R.id.preview), session, settings, ::startCamera)
        stage = Stage(this, session.screen, settings, ::onNotice)
        controls = Controls(this, settings, session.models.paths(), ::onChange)
        findViewById<View>(R.id.camera_button).setOnClickListener { leavePhoto() }
        findViewById<View>(R.id.photo_button).setOnClickListener { choosePhoto() }
        findViewById<View>(R.id.flip_button).setOnClickListener { flip() }
        asked = state?.getBoolean(ASKED) ?: false
        @Suppress("DEPRECATION")
        photo = state?.getParcelable(PHOTO)
        session.screen.listener = this
        if (kept == null) begin() else onScreenChanged()
    }

    private fun begin() {
        load()
        photo?.let(::showPhoto)
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putParcelable(PHOTO, photo.takeIf { session.screen.isPhoto })
        state.putBoolean(ASKED, asked)
    }

    override fun onResume() {
        super.onResume()
        resumed = true
        if (session.trimmed) load()
        session.trimmed = false
        startCamera()
    }

    override fun onPause() {
        resumed = false
        viewfinder.stop()
        super.onPause()
    }

    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        // The system wants memory and has others to take it from while this is looked at.
        if (resumed || level < TRIM_MEMORY_BACKGROUND) return
        session.trimmed = true
        session.engine.unload()
    }

    override fun onRetainNonConfigurationInstance(): Any = session

    override fun onDestroy() {
        viewfinder.close()
        session.screen.listener = null
        if (!isChangingConfigurations) session.engine.close()
        super.onDestroy()
    }

    private fun load() {
        if (settings.model.isEmpty()) {
            session.screen.onModelFailed(getString(R.string.no_models))
            return
        }
        session.engine.scoreThreshold = chosenThreshold()
        session.screen.onStatus(getString(R.string.loading, settings.model.substringAfterLast('/')))
        session.engine.load(Choice(settings.model, settings.threads, settings.gpu))
    }

    private fun chosenThreshold() = settings.threshold?.let { it / 100f }

    private fun onChange(change: Controls.Change) {
        when (change) {
            Controls.Change.MODEL -> load()

            Controls.Change.FILL -> {
                viewfinder.place()
                onScreenChanged()
            }

            Controls.Change.THRESHOLD -> {
                session.engine.scoreThreshold = chosenThreshold()
                if (session.screen.isPhoto) session.engine.again()
            }
        }
    }

    // The camera.

    private fun startCamera() {
        if (!resumed || session.screen.isPhoto || !viewfinder.isReady) return
        if (checkSelfPermission(Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) {
            viewfinder.start()
        } else if (!asked) {
            asked = true
            askForCamera()
        } else {
            val mayAsk = shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)
            session.screen.onNoCamera(if (mayAsk) Notice.MayBeAsked else Notice.Denied)
        }
    }

    private fun askForCamera() = requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA_REQUEST)

    // The answer is looked at in onResume, which comes after it.
    override fun onRequestPermissionsResult(request: Int, permissions: Array<String>, results: IntArray) = startCamera()

    private fun openSettings() =
        startActivity(Intent(ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)))

    private fun flip() {
        settings.front = !settings.front
        leavePhoto()
    }

    override fun onCameraWanted() = startCamera()

    // Photos.

    private fun choosePhoto() {
        val intent = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        try {
            startActivityForResult(intent, PHOTO_REQUEST)
        } catch (_: ActivityNotFoundException) {
            session.screen.onStatus(getString(R.string.no_picker))
        }
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        val uri = data?.data
        if (request == PHOTO_REQUEST && result == RESULT_OK && uri != null) showPhoto(uri)
    }

    private fun showPhoto(uri: Uri) {
        viewfinder.stop()
        photo = uri
        session.screen.onPhotoChosen()
        session.engine.reset()
        session.engine.read(uri)
    }

    private fun leavePhoto() {
        session.screen.onPhotoLeft()
        startCamera()
    }

    // What is shown.

    override fun onScreenChanged() {
        (chosenThreshold() ?: session.screen.threshold)?.let { controls.show((it * 100).roundToInt()) }
        stage.show()
    }

    override fun onOutcome() = stage.showOutcome()

    private fun onNotice(why: Notice) = when (why) {
        Notice.MayBeAsked -> askForCamera()
        Notice.Denied -> openSettings()
        Notice.NoCamera -> choosePhoto()
        is Notice.Lost -> startCamera()
    }

    private companion object {
        const val CAMERA_REQUEST = 1
        const val PHOTO_REQUEST = 2
        const val PHOTO = "photo"
        const val ASKED = "asked"
    }
}
