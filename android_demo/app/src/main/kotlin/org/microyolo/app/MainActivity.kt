package org.microyolo.app

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.content.res.Configuration
import android.net.Uri
import android.os.Bundle
import android.os.SystemClock
import android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS
import android.view.View
import android.widget.Button
import android.widget.ImageView
import android.widget.TextView
import kotlin.math.roundToInt
import org.microyolo.core.Affine
import org.microyolo.core.Detections
import org.microyolo.core.Notice
import org.microyolo.core.Orientation
import org.microyolo.core.Outcome
import org.microyolo.core.ScaleMode
import org.microyolo.core.Screen
import org.microyolo.core.Size

/** The one screen: the camera's or a photo's picture with what is found in it, and the controls. */
class MainActivity :
    Activity(),
    Screen.Listener {
    private lateinit var settings: Settings
    private lateinit var session: Session
    private lateinit var controls: Controls
    private lateinit var viewfinder: Viewfinder
    private lateinit var photoView: ImageView
    private lateinit var overlay: OverlayView
    private lateinit var statistics: TextView
    private lateinit var status: TextView
    private lateinit var notice: View
    private lateinit var noticeText: TextView
    private lateinit var noticeButton: Button
    private lateinit var scaleMode: ScaleMode
    private var photo: Uri? = null
    private var resumed = false
    private var asked = false

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        drawBehindBars(window)
        setContentView(R.layout.main)
        photoView = findViewById(R.id.photo)
        overlay = findViewById(R.id.overlay)
        statistics = findViewById(R.id.statistics)
        status = findViewById(R.id.status)
        notice = findViewById(R.id.notice)
        noticeText = findViewById(R.id.notice_text)
        noticeButton = findViewById(R.id.notice_button)
        settings = Settings(getSharedPreferences("settings", MODE_PRIVATE))
        val kept = lastNonConfigurationInstance as Session?
        scaleMode = settings.scaleMode
        session = kept ?: Session(this)
        viewfinder = Viewfinder(this, findViewById(R.id.preview), session, settings, ::startCamera)
        controls = Controls(this, settings, session.models.paths(), ::onChange)
        findViewById<View>(R.id.camera_button).setOnClickListener { leavePhoto() }
        findViewById<View>(R.id.photo_button).setOnClickListener { choosePhoto() }
        findViewById<View>(R.id.flip_button).setOnClickListener { flip() }
        overlay.addOnLayoutChangeListener { _, _, _, _, _, _, _, _, _ -> overlay.post(::onScreenChanged) }
        layOutAroundBars()
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

    private fun layOutAroundBars() {
        // Only the landscape layout has something around the panel.
        val panel = findViewById<View?>(R.id.bars) ?: findViewById(R.id.panel)
        val space = statistics.paddingLeft
        val landscape = resources.configuration.orientation == Configuration.ORIENTATION_LANDSCAPE
        findViewById<View>(R.id.stage).onCovered {
            statistics.setPadding(space + it.left, space + it.top, space + if (landscape) 0 else it.right, space)
        }
        panel.onCovered {
            panel.setPadding(if (landscape) 0 else it.left, if (landscape) it.top else 0, it.right, it.bottom)
        }
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
                scaleMode = settings.scaleMode
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
        val screen = session.screen
        (chosenThreshold() ?: screen.threshold)?.let { controls.show((it * 100).roundToInt()) }
        status.say(screen.status)
        status.visibility = visible(screen.status.isNotEmpty())
        explain(screen.notice)
        draw(screen.photo, size())
        described = 0
        onOutcome()
    }

    override fun onOutcome() {
        val outcome = session.screen.outcome
        val toView = session.screen.toView(size(), scaleMode)
        if (outcome == null || toView == null) {
            overlay.show(Detections.NONE, NO_LABELS, Affine.IDENTITY)
        } else {
            overlay.show(outcome.found, outcome.labels, toView)
        }
        val now = SystemClock.uptimeMillis()
        if (described != 0L && now - described < READABLE_MILLIS) return
        described = now
        statistics.say(if (outcome == null) "" else describe(outcome))
    }

    private fun size(): Size {
        if (view.width != overlay.width || view.height != overlay.height) view = Size(overlay.width, overlay.height)
        return view
    }

    private var view = Size(0, 0)
    private var described = 0L

    private fun explain(why: Notice?) {
        notice.visibility = visible(why != null)
        when (why) {
            null -> return
            Notice.MayBeAsked -> explain(getString(R.string.camera_why), R.string.allow_camera, ::askForCamera)
            Notice.Denied -> explain(getString(R.string.camera_denied), R.string.open_settings, ::openSettings)
            Notice.NoCamera -> explain(getString(R.string.no_camera), R.string.photo, ::choosePhoto)
            is Notice.Lost -> explain(getString(R.string.camera_lost, why.why), R.string.try_again, ::startCamera)
        }
    }

    private fun explain(text: String, button: Int, action: () -> Unit) {
        noticeText.say(text)
        noticeButton.say(getString(button))
        noticeButton.setOnClickListener { action() }
    }

    private var drawn: Photo? = null

    private fun draw(photo: Photo?, view: Size) {
        photoView.visibility = visible(photo != null)
        if (photo !== drawn) photoView.setImageBitmap(photo?.bitmap)
        drawn = photo
        if (photo == null || view.pixels == 0L) return
        val size = Size(photo.bitmap.width, photo.bitmap.height)
        photoView.imageMatrix = matrix(Orientation.place(size, view, ScaleMode.FIT))
    }

    private fun describe(outcome: Outcome): String {
        val times = outcome.times
        val (threads, mebibytes) = outcome.threads to outcome.modelBytes / 1048576.0
        return getString(
            R.string.statistics,
            outcome.framesPerSecond,
            times.preprocess,
            times.inference,
            times.decode,
            times.total,
            outcome.modelName,
            mebibytes,
            if (threads == null) "GPU" else resources.getQuantityString(R.plurals.cpu, threads, threads)
        )
    }

    private fun visible(wanted: Boolean) = if (wanted) View.VISIBLE else View.GONE

    /** Only what is new, since TalkBack says whatever is set. */
    private fun TextView.say(text: String) {
        if (text != this.text.toString()) this.text = text
    }

    private companion object {
        val NO_LABELS = listOf<String>()

        /** Numbers that change faster cannot be read. */
        const val READABLE_MILLIS = 500L
        const val CAMERA_REQUEST = 1
        const val PHOTO_REQUEST = 2
        const val PHOTO = "photo"
        const val ASKED = "asked"
    }
}
