package org.microyolo.app

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.content.pm.PackageManager
import android.content.res.Configuration
import android.graphics.Matrix
import android.graphics.SurfaceTexture
import android.hardware.camera2.CameraAccessException
import android.hardware.camera2.CameraManager
import android.hardware.display.DisplayManager
import android.media.Image
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.provider.Settings.ACTION_APPLICATION_DETAILS_SETTINGS
import android.view.Display
import android.view.TextureView
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.ImageView
import android.widget.TextView
import org.microyolo.core.Affine
import org.microyolo.core.CameraSizes
import org.microyolo.core.Detections
import org.microyolo.core.Orientation
import org.microyolo.core.ScaleMode
import org.microyolo.core.Size

/** The one screen: the camera's or a photo's picture with what is found in it, and the controls. */
class MainActivity :
    Activity(),
    Engine.Listener,
    Camera.Listener,
    TextureView.SurfaceTextureListener,
    DisplayManager.DisplayListener {
    private lateinit var settings: Settings
    private lateinit var engine: Engine
    private lateinit var camera: Camera
    private lateinit var preview: TextureView
    private lateinit var photoView: ImageView
    private lateinit var overlay: OverlayView
    private lateinit var statistics: TextView
    private lateinit var status: TextView
    private lateinit var notice: View
    private lateinit var noticeButton: Button
    private var models = listOf<String>()
    private var photo: Uri? = null
    private var resumed = false
    private var asked = false
    private var shownCamera: CameraInfo? = null
    private var sizes: CameraSizes? = null

    // Read on the camera's thread.
    @Volatile
    private var orientation = Orientation(0, 0, false)

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        drawBehindBars(window)
        setContentView(R.layout.main)
        preview = findViewById(R.id.preview)
        photoView = findViewById(R.id.photo)
        overlay = findViewById(R.id.overlay)
        statistics = findViewById(R.id.statistics)
        status = findViewById(R.id.status)
        notice = findViewById(R.id.notice)
        noticeButton = findViewById(R.id.notice_button)
        settings = Settings(getSharedPreferences("settings", MODE_PRIVATE))
        val assets = Models(assets)
        models = assets.paths()
        engine = Engine(resources, assets, Photos(contentResolver), this)
        camera = Camera(resources, getSystemService(CameraManager::class.java), this)
        Controls(this, settings, models, ::onChange)
        findViewById<View>(R.id.camera_button).setOnClickListener { leavePhoto() }
        findViewById<View>(R.id.photo_button).setOnClickListener { choosePhoto() }
        findViewById<View>(R.id.flip_button).setOnClickListener { flip() }
        preview.surfaceTextureListener = this
        overlay.addOnLayoutChangeListener { _, _, _, _, _, _, _, _, _ -> if (photo != null) engine.again() }
        layOutAroundBars()
        getSystemService(DisplayManager::class.java).registerDisplayListener(this, null)
        engine.scoreThreshold = settings.threshold / 100f
        load()
        asked = state?.getBoolean(ASKED) ?: false
        @Suppress("DEPRECATION")
        state?.getParcelable<Uri>(PHOTO)?.let(::showPhoto)
    }

    override fun onSaveInstanceState(state: Bundle) {
        super.onSaveInstanceState(state)
        state.putParcelable(PHOTO, photo)
        state.putBoolean(ASKED, asked)
    }

    override fun onResume() {
        super.onResume()
        resumed = true
        startCamera()
    }

    override fun onPause() {
        resumed = false
        camera.close()
        super.onPause()
    }

    override fun onDestroy() {
        getSystemService(DisplayManager::class.java).unregisterDisplayListener(this)
        engine.close()
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
            onFailed(getString(R.string.no_models))
            return
        }
        say(getString(R.string.loading, settings.model.substringAfterLast('/')))
        engine.load(Choice(settings.model, settings.threads, settings.gpu))
    }

    private fun onChange(change: Controls.Change) {
        when (change) {
            Controls.Change.MODEL -> load()
            Controls.Change.FILL -> applyOrientation()
            Controls.Change.THRESHOLD -> engine.scoreThreshold = settings.threshold / 100f
        }
        if (photo != null && change == Controls.Change.THRESHOLD) engine.again()
    }

    // The camera.

    private fun startCamera() {
        val texture = preview.surfaceTexture
        if (!resumed || photo != null || texture == null) return
        if (checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) {
            onPermissionMissing()
            return
        }
        notice.visibility = View.GONE
        val cameras =
            try {
                camera.list()
            } catch (error: CameraAccessException) {
                onCameraLost(error.message.orEmpty())
                return
            }
        val chosen = cameras.find { it.front == settings.front } ?: cameras.firstOrNull()
        if (chosen == null) {
            explain(getString(R.string.no_camera), R.string.photo, ::choosePhoto)
            return
        }
        engine.reset()
        shownCamera = chosen
        sizes = camera.open(chosen, texture)
        applyOrientation()
    }

    private fun onPermissionMissing() {
        val mayAsk = shouldShowRequestPermissionRationale(Manifest.permission.CAMERA)
        if (!asked) {
            asked = true
            requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA_REQUEST)
        } else if (mayAsk) {
            explain(getString(R.string.camera_why), R.string.allow_camera) {
                requestPermissions(arrayOf(Manifest.permission.CAMERA), CAMERA_REQUEST)
            }
        } else {
            explain(getString(R.string.camera_denied), R.string.open_settings) {
                startActivity(Intent(ACTION_APPLICATION_DETAILS_SETTINGS, Uri.fromParts("package", packageName, null)))
            }
        }
    }

    // The answer is looked at in onResume, which comes after it.
    override fun onRequestPermissionsResult(request: Int, permissions: Array<String>, results: IntArray) = startCamera()

    private fun flip() {
        settings.front = !settings.front
        leavePhoto()
    }

    override fun onCameraFrame(frame: Image) = engine.offer(frame, orientation.upright)

    override fun onCameraLost(why: String) {
        overlay.show(Detections.NONE, listOf(), Affine.IDENTITY)
        explain(getString(R.string.camera_lost, why), R.string.try_again, ::startCamera)
    }

    private fun applyOrientation() {
        val info = shownCamera ?: return
        val now = Orientation(info.sensor, displayDegrees(), info.front)
        if (now != orientation && photo == null) engine.reset()
        orientation = now
        val shown = sizes ?: return
        if (preview.width == 0 || preview.height == 0) return
        val view = Size(preview.width, preview.height)
        preview.setTransform(matrix(orientation.textureTransform(shown.preview, view, scaleMode())))
    }

    private fun displayDegrees() = (currentDisplay()?.rotation ?: 0) * 90

    @Suppress("DEPRECATION")
    private fun currentDisplay(): Display? {
        if (Build.VERSION.SDK_INT >= 30) return display
        return getSystemService(WindowManager::class.java).defaultDisplay
    }

    private fun scaleMode() = if (settings.fill) ScaleMode.CROP else ScaleMode.FIT

    private fun matrix(affine: Affine) = Matrix().apply {
        val (a, b, c, d, e, f) = affine
        setValues(doubleArrayOf(a, b, c, d, e, f, 0.0, 0.0, 1.0).map { it.toFloat() }.toFloatArray())
    }

    override fun onSurfaceTextureAvailable(texture: SurfaceTexture, width: Int, height: Int) = startCamera()

    override fun onSurfaceTextureSizeChanged(texture: SurfaceTexture, width: Int, height: Int) = applyOrientation()

    override fun onSurfaceTextureDestroyed(texture: SurfaceTexture): Boolean {
        camera.close()
        return true
    }

    override fun onSurfaceTextureUpdated(texture: SurfaceTexture) = Unit

    override fun onDisplayAdded(id: Int) = Unit

    override fun onDisplayRemoved(id: Int) = Unit

    // The screen turned upside down does not start the activity anew.
    override fun onDisplayChanged(id: Int) = applyOrientation()

    // Photos.

    private fun choosePhoto() {
        val intent = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        try {
            startActivityForResult(intent, PHOTO_REQUEST)
        } catch (_: ActivityNotFoundException) {
            say(getString(R.string.no_picker))
        }
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        val uri = data?.data
        if (request == PHOTO_REQUEST && result == RESULT_OK && uri != null) showPhoto(uri)
    }

    private fun showPhoto(uri: Uri) {
        camera.close()
        notice.visibility = View.GONE
        photo = uri
        engine.reset()
        engine.read(uri)
    }

    private fun leavePhoto() {
        photo = null
        photoView.visibility = View.GONE
        photoView.setImageBitmap(null)
        overlay.show(Detections.NONE, listOf(), Affine.IDENTITY)
        startCamera()
    }

    // What the engine says.

    override fun onLoaded(notice: String?) = say(notice.orEmpty())

    override fun onFailed(message: String) {
        overlay.show(Detections.NONE, listOf(), Affine.IDENTITY)
        statistics.text = ""
        say(message)
    }

    override fun onPhotoFailed(message: String) {
        // The user went back to the camera meanwhile.
        if (photo == null) return
        leavePhoto()
        say(message)
    }

    override fun onFrame(result: Outcome) {
        // One that was under way when the user chose a photo.
        if (photo != null || !resumed) return
        val upright = result.picture
        val view = Size(overlay.width, overlay.height)
        // One from before the screen turned is not drawn on the turned screen.
        val frame = sizes?.frame?.turned(orientation.upright)
        if (upright != frame || view.pixels == 0L) return
        show(result, orientation.toView(upright, view, scaleMode()))
    }

    override fun onPhoto(photo: Photo, result: Outcome) {
        val view = Size(overlay.width, overlay.height)
        if (this.photo == null || view.pixels == 0L) return
        val toView = Orientation.place(result.picture, view, ScaleMode.FIT)
        photoView.setImageBitmap(photo.bitmap)
        photoView.imageMatrix = matrix(toView)
        photoView.visibility = View.VISIBLE
        show(result, toView)
    }

    private fun show(result: Outcome, toView: Affine) {
        overlay.show(result.found, result.labels, toView)
        val times = result.times
        statistics.text =
            getString(
                R.string.statistics,
                result.framesPerSecond,
                times.preprocess,
                times.inference,
                times.decode,
                times.total,
                result.modelName,
                result.modelBytes / 1048576.0,
                if (result.onGpu) {
                    "GPU"
                } else {
                    resources.getQuantityString(
                        R.plurals.cpu,
                        settings.threads,
                        settings.threads
                    )
                }
            )
    }

    private fun say(text: String) {
        status.text = text
        status.visibility = if (text.isEmpty()) View.GONE else View.VISIBLE
    }

    private fun explain(text: String, button: Int, action: () -> Unit) {
        findViewById<TextView>(R.id.notice_text).text = text
        noticeButton.setText(button)
        noticeButton.setOnClickListener { action() }
        notice.visibility = View.VISIBLE
    }

    private companion object {
        const val CAMERA_REQUEST = 1
        const val PHOTO_REQUEST = 2
        const val PHOTO = "photo"
        const val ASKED = "asked"
    }
}
